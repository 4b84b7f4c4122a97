"""Who asks for what when: a trace that is fixed by its seed, for the simulation and for servers.

Knows nothing about either.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rate = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Seconds since the start → requests a second."""
NEW = -1
"""The key of a face that nobody asks for twice."""


@dataclass(frozen=True)
class Trace:
    """Requests in order of time; `keys`: which face each asks for, NEW where it is no other's."""

    seconds: NDArray[np.float64]
    keys: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seconds)


def constant(rate: float) -> Rate:
    """Always the same."""
    return lambda t: np.full_like(t, rate)


def diurnal(mean: float, swing: float, period: float = 86400.0) -> Rate:
    """A sine around `mean` that begins at its lowest; `swing`: its amplitude over the mean."""
    return lambda t: mean * (1 - swing * np.cos(2 * np.pi * t / period))


def flash_crowd(base: float, peak: float, *, at: float, rise: float, lasts: float) -> Rate:
    """`base`, and from `at` on up to `peak` within `rise` seconds, back again after `lasts`."""

    def rate(t: NDArray[np.float64]) -> NDArray[np.float64]:
        up = np.clip((t - at) / rise, 0, 1)
        down = np.clip((t - at - lasts) / rise, 0, 1)
        return base + (peak - base) * (up - down)

    return rate


def poisson(
    rate: Rate,
    seconds: float,
    *,
    seed: int,
    new_share: float = 1.0,
    faces: int = 1,
    exponent: float = 1.0,
) -> Trace:
    """A Poisson process at `rate`, by thinning.

    `new_share` of the requests are for new faces, the others for one of `faces` known ones, the
    k-th most popular in proportion to k^-exponent (Zipf).
    """
    random = np.random.default_rng(seed)
    top = float(rate(np.linspace(0, seconds, 10_001)).max())
    count = random.poisson(top * seconds)
    due = np.sort(random.random(count) * seconds)
    due = due[random.random(count) * top < rate(due)]
    cumulative = np.cumsum(np.arange(1, faces + 1, dtype=np.float64) ** -exponent)
    keys = np.searchsorted(cumulative, random.random(len(due)) * cumulative[-1])
    keys[random.random(len(due)) < new_share] = NEW
    return Trace(due, keys.astype(np.int64))


def zipf_share(faces: int, exponent: float, kept: int) -> float:
    """The share of requests that ask for one of the `kept` most popular of `faces` faces."""
    weights = np.arange(1, faces + 1, dtype=np.float64) ** -exponent
    return float(weights[:kept].sum() / weights.sum())
