"""Frames → a looping animated WebP, small enough to commit. Knows nothing of their origin."""

import io
from collections.abc import Sequence

from PIL import Image

MAX_BYTES = 300_000
QUALITIES = (90, 80, 65, 50, 35)


def animated_webp(
    frames: Sequence[Image.Image], milliseconds: int | Sequence[int], max_bytes: int = MAX_BYTES
) -> bytes:
    """The animation at the highest quality that fits `max_bytes`; the lowest where none does.

    `milliseconds`: for which each frame stands, one number for all or one for each. Raises
    ValueError for fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError(f"{len(frames)} frames are no animation")
    data = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        frames[0].save(
            buffer,
            "WEBP",
            save_all=True,
            append_images=frames[1:],
            duration=milliseconds if isinstance(milliseconds, int) else list(milliseconds),
            loop=0,
            quality=quality,
            method=4,
        )
        data = buffer.getvalue()
        if len(data) <= max_bytes:
            break
    return data
