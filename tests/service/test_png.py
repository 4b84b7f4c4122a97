import importlib
import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import service.png
from service.png import encode_apng, encode_png

SIDES = st.integers(1, 40)
IMAGES = st.tuples(SIDES, SIDES, st.integers(1, 4)).flatmap(lambda s: hnp.arrays(np.uint8, s))
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decoded(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()  # checks every checksum
    return picture


def pixels(picture: Image.Image) -> np.ndarray:
    array = np.asarray(picture)
    return array[:, :, np.newaxis] if array.ndim == 2 else array


@given(IMAGES)
@settings(max_examples=30)
def test_pillow_reads_back_every_pixel_of_every_kind(image):
    picture = decoded(encode_png(image))
    assert picture.mode == MODES[image.shape[2]]
    assert np.array_equal(pixels(picture), image)


def stripes(channels: int, *, upright: bool) -> np.ndarray:
    """A large picture whose pixels are like those above them, or like those beside them."""
    line = np.random.default_rng(0).integers(0, 256, (256, channels), dtype=np.uint8)
    rows = np.broadcast_to(line, (256, 256, channels))
    return np.ascontiguousarray(rows if upright else rows.swapaxes(0, 1))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("upright", [True, False])
def test_large_pictures_are_filtered_along_their_stripes(channels, upright):
    image = stripes(channels, upright=upright)
    png = encode_png(image)
    assert np.array_equal(pixels(decoded(png)), image)
    assert len(png) < image.size / 50


@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES)))
@settings(max_examples=30)
def test_two_dimensions_are_grey(image):
    assert encode_png(image) == encode_png(image[:, :, np.newaxis])


@given(image=IMAGES)
@settings(max_examples=30)
def test_without_isal_the_pixels_are_the_same(image, without_isal):
    assert without_isal.DEFLATER.startswith("zlib")
    assert np.array_equal(pixels(decoded(without_isal.encode_png(image))), image)


@pytest.fixture(scope="module")
def without_isal():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "isal", None)
        patch.setitem(sys.modules, "isal.isal_zlib", None)
        spec = importlib.util.find_spec("service.png")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@given(IMAGES)
@settings(max_examples=30)
def test_the_same_picture_is_the_same_bytes(image):
    assert encode_png(image) == encode_png(image.copy())


def test_igzip_is_used_where_it_is_installed():
    isal = pytest.importorskip("isal")
    assert service.png.DEFLATER.endswith(isal.__version__)


@given(
    st.tuples(st.integers(2, 6), SIDES, SIDES, st.integers(1, 4)).flatmap(
        lambda shape: hnp.arrays(np.uint8, shape)
    ),
    st.integers(1, 65_535),
)
@settings(max_examples=30)
def test_pillow_reads_back_every_frame(frames, milliseconds):
    picture = decoded(encode_apng(frames, milliseconds=milliseconds, text=[("Seed", "7")]))
    assert picture.n_frames == len(frames)
    assert picture.info["loop"] == 0
    assert picture.text == {"Seed": "7"}
    for index, frame in enumerate(frames):
        picture.seek(index)
        assert picture.info["duration"] == pytest.approx(milliseconds)
        converted = picture.convert(MODES[frame.shape[2]])
        assert np.array_equal(pixels(converted), frame)
