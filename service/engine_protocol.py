"""What the service needs of an engine, said by its consumer, and how any number of pictures is cut.

Knows nothing about queues or requests.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from service.labels import ModelSpec


class Critic(Protocol):
    """Judges pictures. Used from one thread."""

    @property
    def version(self) -> str:
        """What its scores depend on, beside the picture."""

    @property
    def takes_turns(self) -> bool:
        """Whether it computes on the engine's device."""

    @property
    def weights_bytes(self) -> int:
        """Memory that its weights take."""

    def score(self, image_HWC: NDArray[np.uint8], y_L: NDArray[np.float32]) -> float:
        """The greater the better; always the same for the same picture and labels."""


class Engine(Protocol):
    """Computes pictures. Used from one thread only, the one that loaded it."""

    critic: Critic | None
    """Of its pictures, where the checkpoint has one and it was asked for."""

    @property
    def spec(self) -> ModelSpec:
        """The model it has loaded."""

    @property
    def tile(self) -> int:
        """Pictures it computes in one step; fuller batches gain nothing."""

    @property
    def weights_bytes(self) -> int:
        """Memory of the device that the weights take."""

    def warm_up(self) -> None:
        """Make the first request as fast as the second."""

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB. Row b depends on z_Z and y_L of row b alone, to the last bit.

        Raises EngineOutOfMemoryError where there is not the memory for it, and NotFiniteError where
        a picture came out as NaN or infinity: there are no pixels for that.
        """

    def halve_tile(self) -> bool:
        """Need less memory from now on; False where the tile is one picture already."""


Finish = Callable[[], NDArray[np.uint8]]
"""Waits for a batch and hands out its image_BHWC; raises as `Engine.generate` does."""


@runtime_checkable
class Overlapping(Protocol):
    """An engine that begins with a batch before the one before is done: two at a time."""

    def begin(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> Finish:
        """Begin with up to a tile of pictures; returns at once.

        What was begun first is finished first, and nothing else is asked of the engine meanwhile.
        """


def some_input(spec: ModelSpec, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """z_BZ and y_BL that any engine makes finite pictures of.

    Ones: fp16 has no number as small as pixel norm's epsilon, so zeros would become NaN there.
    """
    y_L = spec.space.encode({a.name: a.values[0] for a in spec.space.attributes})
    return np.ones((count, spec.latent_dim), np.float32), np.tile(y_L, (count, 1))


def in_tiles(
    begin: Callable[[NDArray[np.float32], NDArray[np.float32]], Finish],
    tile: int,
    z_BZ: NDArray[np.float32],
    y_BL: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """image_BHWC for any B ≥ 1, by an `Overlapping.begin`; raises what that raises.

    Nothing is under way when it returns or raises.
    """
    under_way: deque[Finish] = deque()
    parts = []
    try:
        for start in range(0, len(z_BZ), tile):
            rows = slice(start, start + tile)
            under_way.append(begin(z_BZ[rows], y_BL[rows]))
            if len(under_way) > 1:
                parts.append(under_way.popleft()())
        parts.append(under_way.popleft()())
    finally:
        for finish in under_way:
            with suppress(Exception):  # the first failure is the one that is told
                finish()
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
