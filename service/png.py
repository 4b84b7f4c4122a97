"""uint8 image → PNG, one frame or many: one filter for all rows, igzip, our own chunk framing.

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
_crc32: Callable[..., int]
try:
    import isal
    from isal.isal_zlib import compress as _compress
    from isal.isal_zlib import crc32 as _crc32

    DEFLATER = f"igzip{isal.__version__}"
except ImportError:  # no wheel for this platform: the same pixels, four times slower
    from zlib import compress as _compress
    from zlib import crc32 as _crc32

    DEFLATER = f"zlib{zlib.ZLIB_RUNTIME_VERSION}"
"""What compresses, with its version: another one makes other bytes of the same picture."""

_SUB_FILTER, _UP_FILTER = 1, 2
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels → PNG's colour type: grey, grey and alpha, RGB, RGB and alpha."""
_FASTEST = 1
"""Deflate level; higher ones cost time and save next to nothing on faces."""
_WORTH_A_CHOICE = 256**2
"""Pixels from which looking for the better filter takes less than it saves; below, it is Up, since
faces change less downwards than sideways."""
_LOOKED_AT = 64
"""One of so many rows decides."""


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
            *_parts(b"IDAT", _scanlines(image_HWC)),
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
    chunks += [_frame_control(0, first, milliseconds), *_parts(b"IDAT", _scanlines(first))]
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
    """Compressed scanlines: each byte minus a neighbour, led by the number of the filter."""
    height, width, channels = image_HWC.shape
    rows_HX = image_HWC.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    body_HX = filtered[:, 1:]
    if height * width < _WORTH_A_CHOICE or _up_is_better(rows_HX, channels):
        filtered[:, 0] = _UP_FILTER
        body_HX[0] = rows_HX[0]
        np.subtract(rows_HX[1:], rows_HX[:-1], out=body_HX[1:])
    else:
        filtered[:, 0] = _SUB_FILTER
        body_HX[:, :channels] = rows_HX[:, :channels]
        np.subtract(rows_HX[:, channels:], rows_HX[:, :-channels], out=body_HX[:, channels:])
    return _compress(filtered, _FASTEST)


def _up_is_better(rows_HX: NDArray[np.uint8], channels: int) -> bool:
    """Whether pixels are more like those above them than like those to their left."""
    some_RX, above_RX = rows_HX[_LOOKED_AT::_LOOKED_AT], rows_HX[_LOOKED_AT - 1 : -1 : _LOOKED_AT]
    up, sub = some_RX - above_RX, some_RX[:, channels:] - some_RX[:, :-channels]
    # As signed bytes, since 255 is as near to 0 as 1 is.
    distances = [np.abs(d.view(np.int8), dtype=np.int16).sum() for d in (up, sub)]
    return bool(distances[0] < distances[1])


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return b"".join(_parts(kind, payload))


def _parts(kind: bytes, payload: bytes) -> tuple[bytes, ...]:
    """A chunk not yet joined: no other thread runs Python while megabytes are."""
    crc = _crc32(payload, _crc32(kind))
    return struct.pack(">I", len(payload)), kind, payload, struct.pack(">I", crc)
