"""uint8 image → PNG bytes: Sub filter, igzip, our own chunk framing.

Knows nothing about where pictures come from or where they go; the text fields are handed in.
Deflate is nearly all the work; isal's igzip does it about ten times faster than Pillow's
default and without the interpreter lock (docs/decisions/0004-png-by-igzip.md).
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.provenance import XMP, XMP_KEYWORD

_compress: Callable[..., bytes]
try:
    from isal.isal_zlib import compress as _compress

    DEFLATER = "igzip"
except ImportError:  # no wheel for this platform: the same pixels, four times slower
    from zlib import compress as _compress

    DEFLATER = "zlib"
ENCODER_VERSION = f"png-1-{DEFLATER}"
"""Changes whenever the same picture would become other bytes; part of every ETag."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SUB_FILTER = 1
_TRUECOLOUR = 2
_FASTEST = 1
"""Deflate level; higher ones cost time and save next to nothing on faces."""


def encode_png(
    image_HWC: NDArray[np.uint8], *, text: Sequence[tuple[str, str]] = (), size: int | None = None
) -> bytes:
    """The PNG of an RGB image, resampled to `size` pixels a side (Lanczos) where given.

    `text`: keyword and ASCII text of each tEXt chunk. The XMP packet is always written.
    """
    if size is not None and size != image_HWC.shape[0]:
        picture = Image.fromarray(image_HWC).resize((size, size), Image.Resampling.LANCZOS)
        image_HWC = np.asarray(picture)
    height, width, _ = image_HWC.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _TRUECOLOUR, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            *(_chunk(b"tEXt", f"{key}\0{value}".encode("ascii")) for key, value in text),
            _xmp_chunk(),
            _chunk(b"IDAT", _compress(_sub_filtered(image_HWC), _FASTEST)),
            _chunk(b"IEND", b""),
        )
    )


def _sub_filtered(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scanlines, each byte minus the one a pixel to its left, led by the filter's number."""
    height, width, channels = image_HWC.shape
    rows = image_HWC.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _SUB_FILTER
    filtered[:, 1 : 1 + channels] = rows[:, :channels]
    np.subtract(rows[:, channels:], rows[:, :-channels], out=filtered[:, 1 + channels :])
    return filtered


def _chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(payload)), kind, payload, struct.pack(">I", crc)))


@cache
def _xmp_chunk() -> bytes:
    # Keyword, uncompressed, no language, no translated keyword; then UTF-8.
    return _chunk(b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0" + XMP.encode())
