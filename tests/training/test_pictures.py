"""Decoding, cropping, resampling and the PNG encoder."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from training.pictures import Picture, encode_picture, encode_png, load_picture


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_bytes(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("seed", range(3))
def test_png_is_lossless(seed: int) -> None:
    image_HWC = noise(16, 16, seed)
    png = encode_png(Image.fromarray(image_HWC))
    with Image.open(io.BytesIO(png)) as read:
        read.verify()
    with Image.open(io.BytesIO(png)) as read:
        assert read.mode == "RGB"
        assert np.array_equal(np.asarray(read), image_HWC)


def test_same_size_keeps_every_pixel() -> None:
    image_HWC = noise(8, 8)
    image, size, animated = load_picture(as_bytes(image_HWC), 8)
    assert np.array_equal(np.asarray(image), image_HWC)
    assert (size, animated) == ((8, 8), False)


def test_integer_factor_is_the_mean_of_each_box() -> None:
    image_HWC = noise(24, 24)
    image = load_picture(as_bytes(image_HWC), 8).image
    mean = image_HWC.reshape(8, 3, 8, 3, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(image) - mean).max() < 0.6  # Pillow rounds in fixed point


def test_centre_square_is_kept() -> None:
    image_HWC = noise(8, 14)
    image = load_picture(as_bytes(image_HWC), 8).image
    assert np.array_equal(np.asarray(image), image_HWC[:, 3:11])


def test_other_factors_are_lanczos() -> None:
    image_HWC = noise(20, 20)
    image = load_picture(as_bytes(image_HWC), 8).image
    expected = Image.fromarray(image_HWC).resize((8, 8), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_small_pictures_are_enlarged_and_said_to_be() -> None:
    picture = encode_picture(as_bytes(noise(5, 5)), 8)
    assert isinstance(picture, Picture)
    assert picture.upscaled
    assert Image.open(io.BytesIO(picture.png)).size == (8, 8)


def test_exif_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    image_HWC = noise(8, 8)
    image = load_picture(as_bytes(image_HWC, exif=exif), 8).image
    assert np.array_equal(np.asarray(image), np.rot90(image_HWC, -1))


def test_large_jpeg_decoded_at_a_fraction_looks_the_same() -> None:
    smooth = Image.fromarray(noise(6, 6)).resize((768, 768), Image.Resampling.BICUBIC)
    image = load_picture(as_bytes(smooth, "JPEG", quality=95), 16).image
    expected = np.asarray(smooth.reduce(48), np.float64)
    assert np.abs(np.asarray(image) - expected).max() < 4


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = Image.new("RGB", (8, 8), "white").convert(mode)
    image = load_picture(as_bytes(picture, "TIFF"), 8).image
    assert image.mode == "RGB"
    assert np.asarray(image).min() >= 250


def test_sixteen_bit_grey_keeps_its_middle() -> None:
    picture = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    image = load_picture(as_bytes(picture), 8).image
    assert np.abs(np.asarray(image).astype(int) - 128).max() <= 1


def test_transparent_parts_are_white() -> None:
    picture = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image = load_picture(as_bytes(picture), 8).image
    assert np.asarray(image).min() == 255


def test_digest_is_of_the_pixels() -> None:
    image_HWC = noise(8, 8)
    picture = encode_picture(as_bytes(image_HWC), 8)
    assert not isinstance(picture, str)
    assert picture.pixel_digest == hashlib.sha256(image_HWC.tobytes()).digest()


def test_reasons_for_bad_files(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = as_bytes(noise(64, 64), "JPEG")
    assert encode_picture(b"hello", 8) == "not a picture"
    assert encode_picture(b"", 8) == "an empty file"
    assert "truncated" in str(encode_picture(jpeg[: len(jpeg) // 2], 8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "million pixels" in str(encode_picture(jpeg, 8))  # an error: over twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    assert "million pixels" in str(encode_picture(jpeg, 8))  # Pillow only warns


def test_more_pixels_than_bytes_can_show_are_not_decoded() -> None:
    plain = Image.new("L", (4096, 4096))
    assert "a bomb" in str(encode_picture(as_bytes(plain), 8))
    assert isinstance(encode_picture(as_bytes(plain.resize((2048, 2048))), 8), Picture)
