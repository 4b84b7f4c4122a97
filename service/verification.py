"""A picture's bytes → what it claims, and whether it is true: the server makes it again and looks.

Knows nothing about HTTP or engines: it is handed a way to render. The bytes come from strangers:
only PNG, WebP and JPEG are decoded, one frame, never above `MAX_SIDE`, and off the event loop.
"""

import asyncio
import io
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.containers import PNG_SIGNATURE, Container, bare_png, inspect
from service.provenance import Claims, read_claims

Verdict = Literal["reproduced", "claims_only", "unknown"]
Render = Callable[[Claims, str, int], Awaitable[bytes | None]]
"""Claims, format and side in pixels → the bytes this server would answer; None: it cannot."""

MAX_SIDE = 1024
"""Pixels a side; no single face is larger, so a larger picture is not decoded."""
_MAX_SCANS = 50
"""Scans of a JPEG: each costs a pass over all pixels, whatever its length."""
_NO_SEED = re.compile(r"latent-[0-9a-f]{16}")


@dataclass(frozen=True)
class Verification:
    """What was found: `reproduced` (it claims to be from here, and is, pixel for pixel),
    `claims_only` (it claims so, and that could not be confirmed) or `unknown` (no claims)."""

    verdict: Verdict
    claims: Claims | None
    detail: str
    """One sentence for whoever asked."""


async def verify(content: bytes, render: Render) -> Verification:
    """Read the claims of a picture and try to make it again.

    Takes any bytes at all; raises only what `render` raises.
    """
    container = inspect(content)
    if container is None:
        return Verification("unknown", None, "This is no PNG, WebP or JPEG picture.")
    claims = read_claims(content)
    if claims is None:
        return Verification("unknown", None, "The picture says nothing about where it is from.")

    def unconfirmed(detail: str) -> Verification:
        return Verification("claims_only", claims, detail)

    if reason := _not_a_face(container):
        return unconfirmed(reason)
    rendered = await render(claims, container.format, container.width)
    if rendered is None:
        return unconfirmed("This server cannot make the picture that it claims to be.")
    if rendered == content:
        return Verification("reproduced", claims, "This server makes the very same bytes.")
    theirs, ours = await asyncio.to_thread(lambda: (_decode(content), _decode(rendered)))
    if theirs is None:
        return unconfirmed("The picture is damaged: its pixels cannot be read.")
    if ours is not None and np.array_equal(theirs, ours):
        return Verification("reproduced", claims, "This server makes the very same pixels.")
    if _NO_SEED.fullmatch(claims.seed):
        return unconfirmed("The picture was made from a latent vector, which it does not hold.")
    return unconfirmed("Its pixels are not those that this server makes for what it claims.")


def _not_a_face(container: Container) -> str | None:
    """Why this cannot be one face of this server, by its header alone."""
    width, height = container.width, container.height
    if container.animated:
        return "An animation is not made from one seed."
    if max(width, height) > MAX_SIDE:
        return f"The picture has {width} × {height} pixels, more than any single face has."
    if width != height:
        return f"The picture has {width} × {height} pixels; single faces are square."
    if container.bit_depth != 8:
        return f"The picture has {container.bit_depth} bits a channel; faces have 8."
    return None


def _decode(content: bytes) -> NDArray[np.uint8] | None:
    """image_HWC, RGB; None where the bytes are damaged or are anything else."""
    if content.count(b"\xff\xda") > _MAX_SCANS and content.startswith(b"\xff\xd8"):
        return None
    bare = bare_png(content) if content.startswith(PNG_SIGNATURE) else content
    if bare is None:
        return None
    try:
        with Image.open(io.BytesIO(bare), formats=("PNG", "WEBP", "JPEG")) as picture:
            plain = picture.mode == "RGB" and "transparency" not in picture.info
            small = max(picture.size) <= MAX_SIDE  # as the decoder sees it, not as we read it
            single = getattr(picture, "n_frames", 1) == 1
            return np.asarray(picture) if plain and small and single else None
    except Exception:  # strangers' bytes: decoders fail with errors of every kind
        return None
