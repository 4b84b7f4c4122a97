"""Pictures → one sheet, for people to look at."""

import io
from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, PAPER = (40, 40, 40), (255, 255, 255)
CAPTION_HEIGHT = 16
CAPTION_SIZE = 11  # of the font, in pixels


def grid(image_NHWC: NDArray[np.uint8], columns: int, scale: int = 1) -> Image.Image:
    """Lay pictures out row by row; each is enlarged `scale` times without smoothing."""
    image_NHWC = image_NHWC.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = image_NHWC.shape
    rows = ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = image_NHWC
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))


def cells(sheet: Image.Image, side: int) -> NDArray[np.uint8]:
    """The inverse of `grid`: the pictures of a sheet, each `side` pixels wide, image_NHWC."""
    image_HWC = np.asarray(sheet.convert("RGB"))
    rows, columns = image_HWC.shape[0] // side, image_HWC.shape[1] // side
    image = image_HWC[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return image.swapaxes(1, 2).reshape(rows * columns, side, side, 3)


def with_row_names(sheet: Image.Image, names: Sequence[str]) -> Image.Image:
    """The sheet with a name to the left of each of its equally high rows."""
    font = ImageFont.load_default(CAPTION_SIZE)
    margin = ceil(max(font.getlength(name) for name in names)) + 10
    named = Image.new("RGB", (margin + sheet.width, sheet.height), PAPER)
    named.paste(sheet, (margin, 0))
    draw = ImageDraw.Draw(named)
    height = sheet.height // len(names)
    for row, name in enumerate(names):
        draw.text((margin - 6, (row + 0.5) * height), name, INK, font, anchor="rm")
    return named


def with_caption(image: Image.Image, text: str) -> Image.Image:
    """The picture with a line of text below it, which should fit its width."""
    captioned = Image.new("RGB", (image.width, image.height + CAPTION_HEIGHT), PAPER)
    captioned.paste(image)
    middle = (image.width / 2, image.height + CAPTION_HEIGHT / 2)
    font = ImageFont.load_default(CAPTION_SIZE)
    ImageDraw.Draw(captioned).text(middle, text, INK, font, anchor="mm")
    return captioned


def png_bytes(image: Image.Image) -> bytes:
    """The picture as an optimised PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def webp_bytes(image: Image.Image, quality: int = 90) -> bytes:
    """The picture as WebP, at about a fifth of its PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()
