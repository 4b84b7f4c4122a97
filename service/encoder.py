"""uint8 image → PNG, WebP or JPEG bytes, with their provenance in them.

Knows nothing about where pictures come from or where they go. WebP is lossy: at quality 90 a
face is a third to a tenth of its PNG, and who wants every bit takes PNG. JPEG keeps colour at
full resolution (4:4:4), which small faces need.
"""

import io

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from service.png import DEFLATER, encode_png
from service.provenance import Claims, png_text, xmp_packet

WEBP_QUALITY = 90
JPEG_QUALITY = 92
_VERSIONS = {
    "png": f"png-3-{DEFLATER}",
    "webp": f"webp-1-libwebp{features.version('webp')}",
    "jpeg": f"jpeg-1-libjpeg{features.version('jpg')}",
}


def encoder_version(format_: str) -> str:
    """Changes whenever the same picture would become other bytes; part of every ETag.

    Pillow's version belongs to each: it resamples, whichever library encodes.
    """
    return f"{_VERSIONS[format_]}-pillow{PIL.__version__}"


def encode(
    image_HWC: NDArray[np.uint8], format_: str, *, claims: Claims, size: int | None = None
) -> bytes:
    """An RGB image as "png", "webp" or "jpeg", resampled to `size` pixels a side where given.

    The same arguments are the same bytes, for one `encoder_version`. PNG takes grey and alpha
    too. WebP ends at 16,383 pixels a side.
    """
    if size is not None:
        image_HWC = resample(image_HWC, size)
    xmp = xmp_packet(claims)
    if format_ == "png":
        return encode_png(image_HWC, text=png_text(claims), xmp=xmp)
    buffer = io.BytesIO()
    picture = Image.fromarray(image_HWC)
    if format_ == "webp":
        picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4, xmp=xmp)
    elif format_ == "jpeg":
        # Tables optimised for the picture would save a tenth, but libjpeg fails on noise then.
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4", xmp=xmp)
    else:
        raise ValueError(f"there is no encoder for {format_!r}")
    return buffer.getvalue()


def resample(image_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Lanczos to `size` pixels a side; the image itself where it has that size."""
    if image_HWC.shape[:2] == (size, size):
        return image_HWC
    picture = Image.fromarray(image_HWC).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)
