import importlib
import io
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import service.encoder
from service.encoder import encode_png
from service.provenance import DIGITAL_SOURCE_TYPE, text_fields

IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def decoded(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()  # checks every checksum
    return picture


@given(IMAGES)
def test_pillow_reads_back_every_pixel(image):
    picture = decoded(encode_png(image))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), image)


@given(image=IMAGES)
def test_without_isal_the_pixels_are_the_same(image, without_isal):
    assert without_isal.ENCODER_VERSION == "png-1-zlib"
    assert np.array_equal(np.asarray(decoded(without_isal.encode_png(image))), image)


@pytest.fixture(scope="module")
def without_isal():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "isal", None)
        patch.setitem(sys.modules, "isal.isal_zlib", None)
        spec = importlib.util.find_spec("service.encoder")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@given(IMAGES)
def test_the_same_picture_is_the_same_bytes(image):
    assert encode_png(image) == encode_png(image.copy())


@pytest.mark.parametrize("size", [16, 33, 128, 1024])
def test_size_is_a_lanczos_resample(size):
    image = np.random.RandomState(7).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    expected = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(decoded(encode_png(image, size=size))), np.asarray(expected))


def test_the_native_size_is_not_resampled():
    image = np.random.RandomState(7).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    assert encode_png(image, size=64) == encode_png(image)


def test_provenance_is_in_the_picture():
    text = text_fields(seed="j%20d", model="faces@0123", labels="age=60%2B")
    picture = decoded(encode_png(np.zeros((16, 16, 3), np.uint8), text=text))
    assert {k: picture.text[k] for k in ("Software", "Seed", "Model", "Labels")} == {
        "Software": "Visage",
        "Seed": "j%20d",
        "Model": "faces@0123",
        "Labels": "age=60%2B",
    }
    packet = picture.text["XML:com.adobe.xmp"]
    assert packet.startswith('<?xpacket begin="\ufeff"')
    body = packet[packet.index("?>") + 2 : packet.rindex("<?xpacket")]
    found = ElementTree.fromstring(body).iter(
        "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    )
    assert [element.text for element in found] == [DIGITAL_SOURCE_TYPE]
    assert DIGITAL_SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")


def test_a_model_without_attributes_writes_no_labels():
    assert dict(text_fields(seed="7", model="m@0", labels="")).keys() == {
        "Software",
        "Seed",
        "Model",
    }


def test_igzip_is_used_where_it_is_installed():
    pytest.importorskip("isal")
    assert service.encoder.ENCODER_VERSION == "png-1-igzip"
