"""Two ends → the way between them, there and back. Pure numpy.

Knows nothing about faces. Latents of a normal distribution lie near a sphere, so the way from one
to the other keeps to it (spherical interpolation: Shoemake 1985; White 2016, arXiv:1609.04468):
on a straight line the pictures in the middle would come from where training never was.
"""

import math

import numpy as np
from numpy.typing import NDArray

_NEARLY_PARALLEL = 1e-6


def there_and_back(frames: int) -> list[float]:
    """How far along the way each frame of a loop is: 0 at the first, 1 half way, slow at both ends.

    Frame k and frame `frames` − k are at the same place, to the last bit; the far end is met where
    `frames` is even.
    """
    return [
        (1 - math.cos(2 * math.pi * min(frame, frames - frame) / frames)) / 2
        for frame in range(frames)
    ]


def spherical(
    start_Z: NDArray[np.float32], end_Z: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """The latent at `share` of the way: 0 is the start, 1 the end, exactly.

    Along the great circle; straight where the ends are parallel and there is none.
    """
    if share in (0, 1):
        return end_Z if share else start_Z
    start, end = start_Z.astype(np.float64), end_Z.astype(np.float64)
    norms = float(np.linalg.norm(start) * np.linalg.norm(end))
    angle = math.acos(min(max(float(start @ end) / norms, -1.0), 1.0)) if norms else 0.0
    if math.sin(angle) < _NEARLY_PARALLEL:
        return linear(start_Z, end_Z, share)
    weights = math.sin((1 - share) * angle), math.sin(share * angle)
    return ((weights[0] * start + weights[1] * end) / math.sin(angle)).astype(np.float32)


def linear(
    start_L: NDArray[np.float32], end_L: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """What lies at `share` of the straight way."""
    return ((1 - share) * start_L + share * end_L).astype(np.float32)
