"""Seed → latent vector: pure numpy, frozen for ever.

Knows nothing about models beyond the latent's length. numpy promises never to change the
stream of `RandomState`, which is why it is used here and not the newer Generator.
"""

import math
import threading
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from service.params import Seed

VARIATION_ANGLE = math.radians(25)
"""How far a variation lies from its seed; two strangers are about 90° apart."""


class _Generator(threading.local):
    """Seeding one again takes a hundredth of the time that making one takes: that asks the system
    for randomness first."""

    def __init__(self) -> None:
        self.state = np.random.RandomState(0)


_generator = _Generator()


def latent(seed: Seed, latent_dim: int) -> NDArray[np.float32]:
    """z_Z of unit normal variance.

    Integers below 2^32 follow the ecosystem's convention, `RandomState(seed).randn(Z)`; greater
    ones seed it with their two 32-bit words, text with the eight words of its SHA-256. A
    variation turns its origin's latent a little towards that of its own text.
    """
    _generator.state.seed(_entropy(seed))
    z_Z = _generator.state.randn(latent_dim)
    if seed.origin is not None:
        # Of two independent unit normals this is unit normal again, like every other latent.
        origin_Z = latent(seed.origin, latent_dim).astype(np.float64)
        z_Z = math.cos(VARIATION_ANGLE) * origin_Z + math.sin(VARIATION_ANGLE) * z_Z
    return z_Z.astype(np.float32)


def _entropy(seed: Seed) -> int | list[int]:
    if seed.number is None:
        digest = sha256(seed.text.encode()).digest()
        return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 32, 4)]
    if seed.number < 2**32:
        return seed.number
    return [seed.number & 0xFFFFFFFF, seed.number >> 32]
