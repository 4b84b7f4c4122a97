"""Pictures → one sheet, for people to look at."""

import io
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def grid(image_NHWC: NDArray[np.uint8], columns: int, scale: int = 1) -> Image.Image:
    """Lay pictures out row by row; each is enlarged `scale` times without smoothing."""
    image_NHWC = image_NHWC.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = image_NHWC.shape
    rows = ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = image_NHWC
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))


def png_bytes(image: Image.Image) -> bytes:
    """The picture as an optimised PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
