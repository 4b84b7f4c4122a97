"""The whole service over an engine that only waits: `python -m benchmarks.fleet.stub_server`.

So several replicas fit on two cores. FLEET_ENGINE=each:0.02:8 takes 20 ms for each picture and up
to 8 at a time; FLEET_ENGINE=tile:0.08:8 takes 80 ms for up to 8 together. All else is `python -m
service`, settings included.
"""

import os
import sys
import time
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

import service.engine
from service.__main__ import main
from service.labels import AttributeSpace, ModelSpec

SIDE, LATENT = 64, 8


class StubEngine:
    """Pictures of noise, after a wait of fixed length."""

    def __init__(self, told: str) -> None:
        self.kind, seconds, tile = told.split(":")
        self.seconds, self.tile = float(seconds), int(tile)
        self.weights_bytes = 0
        self.spec = ModelSpec(
            name="stub-64",
            digest="0" * 64,
            resolution=SIDE,
            latent_dim=LATENT,
            space=AttributeSpace(()),
            licence="CC0-1.0",
            metrics={},
            engine="stub",
        )

    def warm_up(self) -> None:
        """Nothing to do."""

    def halve_tile(self) -> bool:
        """Never out of memory."""
        return False

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, as different as their latents."""
        del y_BL
        due = time.monotonic() + self.seconds * (len(z_BZ) if self.kind == "each" else 1)
        image_BHWC = np.stack([_noise(z_Z) for z_Z in z_BZ])
        time.sleep(max(0.0, due - time.monotonic()))
        return image_BHWC


def _noise(z_Z: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.random.default_rng(crc32(z_Z.tobytes())).integers(
        0, 256, (SIDE, SIDE, 3), dtype=np.uint8
    )


def _load(_: Path, **__: object) -> StubEngine:
    return StubEngine(os.environ["FLEET_ENGINE"])


if __name__ == "__main__":
    service.engine.load_engine = _load  # type: ignore[assignment]
    sys.exit(main())
