"""Pictures by OpenVINO: on a CPU several times as fast as torch, in bf16 where the CPU has it.

Each picture is computed on its own, by one thread, and as many side by side as there are threads:
so its bytes depend neither on company nor on the number of threads, a lone request costs one
picture, and no thread waits for another (docs/decisions/0010-pictures-computed-alone.md).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import Checkpoint
from service.errors import EngineOutOfMemoryError, NotFiniteError
from service.labels import ModelSpec

# At its import openvino tells its makers over the network; without this module it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

from service.openvino_graph import openvino_model  # noqa: E402

SIDES_PER_THREAD = 1024
"""In one step each thread makes pictures of so many pixels' side in all, two at least: enough that
the threads seldom wait for the next step, few enough that newcomers wait for little."""


SMALL, LANES_PER_THREAD = 256, 2
"""Up to so many pixels a side each thread has its next picture's inputs at hand before it is done
with one. Larger pictures take so long that it gains nothing, and much memory."""


class OpenVinoEngine:
    """The generator of one checkpoint, compiled. `spec.engine` is filled in here.

    `precision`: `auto` is bf16 where the CPU multiplies that natively, else fp32. Raises
    ValueError for bf16 where it does not.
    """

    def __init__(
        self, checkpoint: Checkpoint, spec: ModelSpec, *, threads: int, precision: str = "auto"
    ) -> None:
        core = ov.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not native:
            raise ValueError("this CPU has no bf16: use fp32 or auto")
        self._bf16 = native and precision != "fp32"
        generator = checkpoint.build().fold()
        compiled = core.compile_model(
            openvino_model(generator),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if self._bf16 else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": threads,
            },
        )
        # No AsyncInferQueue: its Python takes as long as a small picture.
        lanes = threads * (LANES_PER_THREAD if spec.resolution <= SMALL else 1)
        self._lanes = [_Lane(compiled, spec) for _ in range(lanes)]
        self._spec = spec
        self._threads = threads
        self._weights = sum(p.numel() for p in generator.parameters())

    @property
    def spec(self) -> ModelSpec:
        version, precision = ov.__version__.partition("-")[0], "bf16" if self._bf16 else "fp32"
        return replace(self._spec, engine=f"openvino {version} cpu {precision}")

    @property
    def tile(self) -> int:
        """A batch that keeps every thread busy: 8 pictures each up to 128 px, 2 from 512 px on."""
        each = min(max(SIDES_PER_THREAD // self._spec.resolution, 2), 8)
        return self._threads * each

    @property
    def weights_bytes(self) -> int:
        return self._weights * (2 if self._bf16 else 4)

    def warm_up(self) -> None:
        """Have every thread make a picture."""
        z_BZ = np.zeros((self.tile, self._spec.latent_dim), np.float32)
        y_BL = np.zeros((self.tile, self._spec.space.label_dim), np.float32)
        self.generate(z_BZ, y_BL)

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB, for any B ≥ 1; EngineOutOfMemoryError without the memory for it.

        NotFiniteError where a picture holds NaN or infinity.
        """
        side = self._spec.resolution
        image_BHWC = np.empty((len(z_BZ), side, side, 3), np.uint8)
        inputs = [z_BZ, y_BL] if self._spec.space.label_dim else [z_BZ]
        count, ahead, bad = len(z_BZ), len(self._lanes), 0
        try:
            try:
                for row in range(count + ahead):
                    lane = self._lanes[row % ahead]
                    if row >= ahead:
                        bad += not lane.finish(image_BHWC[row - ahead])
                    if row < count:
                        lane.start([rows[row] for rows in inputs])
            finally:
                # Even if one failed: each lane is free when the next batch comes.
                for lane in self._lanes:
                    lane.wait()
        except RuntimeError as error:
            if "bad_alloc" not in str(error):
                raise
            raise EngineOutOfMemoryError(str(error)) from error
        if bad:
            raise NotFiniteError.of(bad, count)
        return image_BHWC

    def halve_tile(self) -> bool:
        """False: pictures are computed one by one already."""
        return False


class _Lane:
    """One picture on its way: a request with arrays of its own, which it reads and writes."""

    def __init__(self, compiled: ov.CompiledModel, spec: ModelSpec) -> None:
        self._request = compiled.create_infer_request()
        dims = [spec.latent_dim] + ([spec.space.label_dim] if spec.space.label_dim else [])
        self._inputs = [np.zeros((1, dim), np.float32) for dim in dims]
        self._image = np.zeros((1, spec.resolution, spec.resolution, 3), np.uint8)
        for index, rows in enumerate(self._inputs):
            self._request.set_input_tensor(index, _shared(rows))
        self._total = np.zeros((), np.float32)
        self._request.set_output_tensor(0, _shared(self._image))
        self._request.set_output_tensor(1, _shared(self._total))
        self.wait = self._request.wait

    def start(self, rows: Sequence[NDArray[np.float32]]) -> None:
        """Begin with the picture of these inputs, z_Z and perhaps y_L; returns at once."""
        for ours, given in zip(self._inputs, rows, strict=True):
            ours[0] = given
        self._request.start_async()

    def finish(self, image_HWC: NDArray[np.uint8]) -> bool:
        """Wait for the picture, and put it there; whether it is one: all its numbers finite."""
        self._request.wait()
        image_HWC[:] = self._image[0]
        return math.isfinite(self._total.item())


def _shared(array: NDArray[Any]) -> ov.Tensor:
    """OpenVINO reads from it and writes to it in place."""
    return ov.Tensor(array, shared_memory=True)
