import io
from xml.etree import ElementTree

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from service.encoder import encode, encoder_version, resample
from service.provenance import DIGITAL_SOURCE_TYPE, Claims

CLAIMS = Claims("j%20d", "faces@0123", "gender=female&age=60%2B")
FORMATS = ("png", "webp", "jpeg")
IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def noise(side: int) -> np.ndarray:
    return np.random.RandomState(7).randint(0, 256, (side, side, 3)).astype(np.uint8)


def smooth(side: int) -> np.ndarray:
    ramp = np.linspace(20, 220, side)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp, ramp[::-1]), -1).astype(np.uint8)


@given(IMAGES)
@settings(max_examples=25)
def test_png_loses_nothing(image):
    assert np.array_equal(np.asarray(decoded(encode(image, "png", claims=CLAIMS))), image)


@pytest.mark.parametrize("format_", FORMATS)
@given(image=IMAGES)
@settings(max_examples=25)
def test_the_same_picture_is_the_same_bytes_in_the_format_asked_for(format_, image):
    content = encode(image, format_, claims=CLAIMS)
    assert content == encode(image.copy(), format_, claims=CLAIMS)
    picture = decoded(content)
    assert (picture.format, picture.mode) == (format_.upper(), "RGB")
    assert picture.size == image.shape[1::-1]


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
def test_what_is_lossy_is_close(format_):
    image = smooth(128)
    lost = np.asarray(decoded(encode(image, format_, claims=CLAIMS)), float) - image
    assert np.abs(lost).mean() < 2


def test_jpeg_keeps_colour_at_full_resolution():
    picture = decoded(encode(noise(32), "jpeg", claims=CLAIMS))
    assert [(h, v) for _, h, v, _ in picture.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("format_", FORMATS)
def test_the_worst_picture_is_encoded_too(format_):
    assert decoded(encode(noise(700), format_, claims=CLAIMS)).size == (700, 700)


@pytest.mark.parametrize("size", [16, 33, 128, 1024])
def test_size_is_a_lanczos_resample(size):
    expected = Image.fromarray(noise(64)).resize((size, size), Image.Resampling.LANCZOS)
    picture = decoded(encode(noise(64), "png", claims=CLAIMS, size=size))
    assert np.array_equal(np.asarray(picture), np.asarray(expected))


def test_the_native_size_is_not_resampled():
    image = noise(64)
    assert resample(image, 64) is image
    assert encode(image, "png", claims=CLAIMS, size=64) == encode(image, "png", claims=CLAIMS)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_says_in_xmp_that_a_machine_made_it(format_):
    picture = decoded(encode(smooth(16), format_, claims=CLAIMS))
    packet = picture.info["xmp"].decode()
    assert packet.startswith('<?xpacket begin="\ufeff"')
    body = packet[packet.index("?>") + 2 : packet.rindex("<?xpacket")]
    found = {element.tag: element.text for element in ElementTree.fromstring(body).iter()}
    assert (
        found["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]
        == DIGITAL_SOURCE_TYPE
        == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    ours = {tag.rpartition("}")[2]: text for tag, text in found.items() if "visage" in tag}
    assert ours == {"Seed": CLAIMS.seed, "Model": CLAIMS.model, "Labels": CLAIMS.labels}


def test_png_has_the_claims_as_text_too():
    picture = decoded(encode(smooth(16), "png", claims=CLAIMS))
    assert {k: picture.text[k] for k in ("Software", "Seed", "Model", "Labels")} == {
        "Software": "Visage",
        "Seed": "j%20d",
        "Model": "faces@0123",
        "Labels": "gender=female&age=60%2B",
    }


def test_versions_name_what_decides_the_bytes():
    versions = [encoder_version(format_) for format_ in FORMATS]
    assert len(set(versions)) == 3
    assert all(version.endswith(f"-pillow{PIL.__version__}") for version in versions)


def test_no_other_format_is_made():
    with pytest.raises(ValueError, match="gif"):
        encode(smooth(16), "gif", claims=CLAIMS)
