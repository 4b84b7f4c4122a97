"""Pictures by torch itself, on the CPU in float32: what works everywhere.

Every picture is computed at one fixed batch shape, the tile: short batches are padded, long ones
run tile after tile. Same shape, same kernels: so a row's bytes do not depend on its company
(docs/decisions/0003-one-tile.md).
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Checkpoint, to_pixels
from service.engine_protocol import Critic
from service.errors import EngineOutOfMemoryError, NotFiniteError
from service.labels import ModelSpec
from service.processor import instruction_set

DEFAULT_TILE = 8
WARM_UP_STEPS = 2


class TorchEngine:
    """The folded generator of one checkpoint, channels_last. `spec.engine` is filled in here."""

    critic: Critic | None = None

    def __init__(
        self, checkpoint: Checkpoint, spec: ModelSpec, *, tile: int = DEFAULT_TILE, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self._generator = checkpoint.build().fold()
        self._generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._spec = spec
        self._tile = tile
        self._threads = threads
        # A short batch leaves old rows behind as padding: rows do not see one another.
        self._z_TZ = torch.zeros(tile, spec.latent_dim)
        self._y_TL = torch.zeros(tile, spec.space.label_dim)
        self._y_TL[:] = torch.from_numpy(
            spec.space.encode({a.name: a.values[0] for a in checkpoint.attributes})
        )

    @property
    def spec(self) -> ModelSpec:
        version = torch.__version__.partition("+")[0]
        shape = f"tile {self._tile}, {self._threads} threads"
        return replace(
            self._spec, engine=f"torch {version} cpu ({instruction_set()}) fp32, {shape}"
        )

    @property
    def tile(self) -> int:
        return self._tile

    @property
    def weights_bytes(self) -> int:
        return sum(p.nbytes for p in self._generator.parameters())

    def warm_up(self) -> None:
        """Run the tile until kernels are chosen and memory is laid out."""
        z_TZ, y_TL = self._z_TZ.numpy().copy(), self._y_TL.numpy().copy()
        for _ in range(WARM_UP_STEPS):
            self.generate(z_TZ, y_TL)

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB, for any B ≥ 1; EngineOutOfMemoryError without the memory for it.

        NotFiniteError where a picture holds NaN or infinity.
        """
        tiles, bad = [], 0
        for start in range(0, len(z_BZ), self._tile):
            z = torch.from_numpy(z_BZ[start : start + self._tile])
            self._z_TZ[: len(z)] = z
            self._y_TL[: len(z)] = torch.from_numpy(y_BL[start : start + self._tile])
            try:
                pixels_THWC, finite_T = self._run_tile()
                tiles.append(pixels_THWC[: len(z)].numpy())
                bad += len(z) - int(finite_T[: len(z)].sum())
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise EngineOutOfMemoryError(str(error)) from error
            except RuntimeError as error:
                # On a CPU torch has no class of its own for it.
                if "can't allocate memory" not in str(error):
                    raise
                raise EngineOutOfMemoryError(str(error)) from error
        if bad:
            raise NotFiniteError.of(bad, len(z_BZ))
        return np.concatenate(tiles)

    def halve_tile(self) -> bool:
        """Need less memory from now on; False where the tile is one picture already."""
        if self._tile == 1:
            return False
        self._tile //= 2
        self._z_TZ = self._z_TZ[: self._tile].clone()
        self._y_TL = self._y_TL[: self._tile].clone()
        return True

    @torch.inference_mode()
    def _run_tile(self) -> tuple[Tensor, Tensor]:
        """Pixels, and whether all numbers of each picture are finite: their sum is, else not."""
        y_TL = self._y_TL if self._spec.space.label_dim else None
        image_TCHW = self._generator(self._z_TZ, y_TL)
        return to_pixels(image_TCHW), image_TCHW.sum(dim=(1, 2, 3)).isfinite()
