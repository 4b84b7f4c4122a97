"""Stand-ins that keep the contracts of the real thing, without torch."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.labels import Attribute, AttributeSpace, ModelSpec

ATTRIBUTES = (
    Attribute("gender", ("male", "female"), (0.5, 0.5)),
    Attribute("age", ("0-9", "10-19", "20-29", "30-39", "60+"), (0.1, 0.2, 0.3, 0.3, 0.1)),
)


def face_spec(**changes: object) -> ModelSpec:
    """A small labelled model."""
    fields: dict[str, object] = {
        "name": "fake-16",
        "digest": "0123456789abcdef" * 4,
        "resolution": 16,
        "latent_dim": 8,
        "space": AttributeSpace(ATTRIBUTES),
        "licence": "CC0-1.0",
        "metrics": {"swd": 5.4},
        "engine": "fake",
    }
    return ModelSpec(**(fields | changes))  # type: ignore[arg-type]


class FakeEngine:
    """Pictures that depend on z and y of their own row, and on nothing else.

    `before_batch` runs on the engine's thread ahead of every batch: it may wait or raise.
    """

    def __init__(
        self,
        spec: ModelSpec | None = None,
        *,
        tile: int = 4,
        before_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.spec = spec or face_spec()
        self.tile = tile
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.seen: list[NDArray[np.float32]] = []
        self._before_batch = before_batch

    weights_bytes = 1000
    critic = None

    def warm_up(self) -> None:
        self.threads.add(threading.get_ident())

    def halve_tile(self) -> bool:
        if self.tile == 1:
            return False
        self.tile //= 2
        return True

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        self.threads.add(threading.get_ident())
        self.batches.append(len(z_BZ))
        self.seen.extend(z_BZ)
        self._before_batch(len(z_BZ))
        return np.stack([self._picture(z, y) for z, y in zip(z_BZ, y_BL, strict=True)])

    def _picture(self, z: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.uint8]:
        side = self.spec.resolution
        ramp = np.arange(side * side * 3, dtype=np.float64).reshape(side, side, 3)
        tint = float(z @ np.arange(1, len(z) + 1)) * 10 + float(y @ np.arange(1, len(y) + 1)) * 40
        return (np.abs(ramp * 0.3 + tint) % 256).astype(np.uint8)


class Gate:
    """Holds an engine inside its batches until opened; says when one has arrived."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        """Return once an engine is inside a batch; fail after far longer than it can take."""
        assert await asyncio.to_thread(self.arrived.wait, 20), "no batch has come to the gate"

    def __call__(self, size: int) -> None:
        self.arrived.set()
        if not self._open.wait(timeout=20):
            raise TimeoutError("the test never opened the gate")
