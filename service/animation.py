"""Frames → one looping animation, WebP or APNG, with its provenance in it.

Knows nothing about how frames were made. WebP is lossy and many times smaller; APNG keeps every
pixel of every frame.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.encoder import encoder_version
from service.png import encode_apng
from service.provenance import Claims, png_text, xmp_packet

ANIMATION_FORMATS = {"webp": "image/webp", "apng": "image/apng"}
"""Formats of animations, the default first, with their media types."""
FRAME_MILLISECONDS = 60
WEBP_QUALITY = 85
_WEBP_EFFORT = 2
"""Of 0…6: each step up doubles the time for a few per cent of the size."""


def animation_version(format_: str) -> str:
    """Changes whenever the same frames would become other bytes; part of every ETag."""
    return "animation-1-" + encoder_version("png" if format_ == "apng" else format_)


def animate(frames_NHWC: Sequence[NDArray[np.uint8]], format_: str, *, claims: Claims) -> bytes:
    """RGB frames of one size as a "webp" or "apng" that loops for ever.

    Two frames or more, each shown for `FRAME_MILLISECONDS`. The same arguments are the same
    bytes, for one `animation_version`.
    """
    xmp = xmp_packet(claims)
    if format_ == "apng":
        return encode_apng(
            frames_NHWC, milliseconds=FRAME_MILLISECONDS, text=png_text(claims), xmp=xmp
        )
    if format_ != "webp":
        raise ValueError(f"there is no animation encoder for {format_!r}")
    first, *others = (Image.fromarray(frame) for frame in frames_NHWC)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=FRAME_MILLISECONDS,
        loop=0,
        quality=WEBP_QUALITY,
        method=_WEBP_EFFORT,
        # No frame is tried as a key frame too: a loop is never entered in its middle.
        kmin=0,
        kmax=0,
        xmp=xmp,
    )
    return buffer.getvalue()
