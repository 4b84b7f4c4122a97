"""uint8 image → PNG, one frame or many: Sub filter, igzip, our own chunk framing.

Knows nothing about where pictures come from or what their metadata means. Deflate is nearly all
the work; isal's igzip does it about ten times faster than Pillow's default and without the
interpreter lock (docs/decisions/0004-png-by-igzip.md).
"""

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.containers import PNG_SIGNATURE, XMP_KEYWORD

_compress: Callable[..., bytes]
try:
    import isal
    from isal.isal_zlib import compress as _compress

    DEFLATER = f"igzip{isal.__version__}"
except ImportError:  # no wheel for this platform: the same pixels, four times slower
    from zlib import compress as _compress

    DEFLATER = f"zlib{zlib.ZLIB_RUNTIME_VERSION}"
"""What compresses, with its version: another one makes other bytes of the same picture."""

_SUB_FILTER = 1
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels → PNG's colour type: grey, grey and alpha, RGB, RGB and alpha."""
_FASTEST = 1
"""Deflate level; higher ones cost time and save next to nothing on faces."""


def encode_png(
    image_HWC: NDArray[np.uint8], *, text: Sequence[tuple[str, str]] = (), xmp: bytes | None = None
) -> bytes:
    """The PNG of an image of 1 (grey), 2, 3 (RGB) or 4 channels; an image_HW is grey too.

    `text`: keyword and ASCII text of each tEXt chunk. `xmp`: an XMP packet.
    """
    image_HWC = _with_channels(image_HWC)
    return b"".join(
        (
            _head(image_HWC),
            _metadata(text, xmp),
            _chunk(b"IDAT", _scanlines(image_HWC)),
            _chunk(b"IEND", b""),
        )
    )


def encode_apng(
    frames_NHWC: Sequence[NDArray[np.uint8]],
    *,
    milliseconds: int,
    text: Sequence[tuple[str, str]] = (),
    xmp: bytes | None = None,
) -> bytes:
    """A looping animated PNG (W3C, third edition); what knows only PNG shows the first frame.

    Every frame is whole, and stands for `milliseconds`.
    """
    first, *others = (_with_channels(frame) for frame in frames_NHWC)
    loop_for_ever = struct.pack(">II", len(frames_NHWC), 0)
    chunks = [_head(first), _chunk(b"acTL", loop_for_ever), _metadata(text, xmp)]
    chunks += [_frame_control(0, first, milliseconds), _chunk(b"IDAT", _scanlines(first))]
    for index, frame in enumerate(others):
        number = 1 + 2 * index  # frame controls and later frames' data count in one sequence
        chunks.append(_frame_control(number, frame, milliseconds))
        chunks.append(_chunk(b"fdAT", struct.pack(">I", number + 1) + _scanlines(frame)))
    return b"".join((*chunks, _chunk(b"IEND", b"")))


def _with_channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[:, :, np.newaxis] if image.ndim == 2 else image


def _head(image_HWC: NDArray[np.uint8]) -> bytes:
    height, width, channels = image_HWC.shape
    fields = (width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return PNG_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))


def _metadata(text: Sequence[tuple[str, str]], xmp: bytes | None) -> bytes:
    chunks = [_chunk(b"tEXt", f"{key}\0{value}".encode("ascii")) for key, value in text]
    if xmp is not None:
        # Keyword, uncompressed, no language, no translated keyword; then UTF-8.
        chunks.append(_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    return b"".join(chunks)


def _frame_control(number: int, image_HWC: NDArray[np.uint8], milliseconds: int) -> bytes:
    height, width, _ = image_HWC.shape
    # At the origin, for milliseconds/1000 s, left in place, replacing what was there.
    fields = (number, width, height, 0, 0, milliseconds, 1000, 0, 0)
    return _chunk(b"fcTL", struct.pack(">IIIIIHHBB", *fields))


def _scanlines(image_HWC: NDArray[np.uint8]) -> bytes:
    """Compressed scanlines: each byte minus the one a pixel to its left, led by the filter."""
    height, width, channels = image_HWC.shape
    rows = image_HWC.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _SUB_FILTER
    filtered[:, 1 : 1 + channels] = rows[:, :channels]
    np.subtract(rows[:, channels:], rows[:, :-channels], out=filtered[:, 1 + channels :])
    return _compress(filtered, _FASTEST)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(payload)), kind, payload, struct.pack(">I", crc)))
