"""Pictures by OpenVINO: on a CPU several times as fast as torch, in bf16 where the CPU has it.

Each picture is computed on its own, by one thread, and as many side by side as there are threads:
so its bytes depend neither on company nor on the number of threads, a lone request costs one
picture, and no thread waits for another (docs/decisions/0010-pictures-computed-alone.md).
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import Checkpoint
from service.engine_protocol import Critic, Finish, in_tiles, some_input
from service.errors import EngineOutOfMemoryError, NotFiniteError
from service.labels import ModelSpec
from service.processor import instruction_set

# At its import openvino tells its makers over the network; without this module it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

from service.openvino_graph import openvino_model  # noqa: E402

SIDES_PER_THREAD = 512
"""In one step each thread makes pictures of so many pixels' side in all, two at least: enough that
Python has the next step ready in time, few enough that newcomers wait for little."""


class OpenVinoEngine:
    """The generator of one checkpoint, compiled. `spec.engine` is filled in here.

    `precision`: `auto` is bf16 where the CPU multiplies that natively, else fp32. Raises
    ValueError for bf16 where it does not. `niceness`: by how much the threads that compute let all
    others go first, on Linux.
    """

    critic: Critic | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        spec: ModelSpec,
        *,
        threads: int,
        precision: str = "auto",
        niceness: int = 0,
    ) -> None:
        core = ov.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not native:
            raise ValueError("this CPU has no bf16: use fp32 or auto")
        self._bf16 = native and precision != "fp32"
        generator = checkpoint.build().fold()
        # The threads that compute begin here, each as gentle as who began it. This one stays as it
        # is: it runs Python, and who waited for the processor with Python's lock in hand would hold
        # up the event loop.
        with ThreadPoolExecutor(1, initializer=_give_way, initargs=(niceness,)) as gentle:
            compiled = gentle.submit(
                core.compile_model,
                openvino_model(generator),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "bf16" if self._bf16 else "f32",
                    "INFERENCE_NUM_THREADS": threads,
                    "NUM_STREAMS": threads,
                },
            ).result()
        self._spec = spec
        self._threads = threads
        self._weights = sum(p.numel() for p in generator.parameters())
        # The one to be used next, and the one that may be under way.
        self._batches = [_Batch(compiled, spec, self.tile) for _ in range(2)]

    @property
    def spec(self) -> ModelSpec:
        version, precision = ov.__version__.partition("-")[0], "bf16" if self._bf16 else "fp32"
        return replace(
            self._spec, engine=f"openvino {version} cpu ({instruction_set()}) {precision}"
        )

    @property
    def tile(self) -> int:
        """A batch that keeps every thread busy: 8 pictures each up to 64 px, 2 from 256 px on."""
        each = min(max(SIDES_PER_THREAD // self._spec.resolution, 2), 8)
        return self._threads * each

    @property
    def weights_bytes(self) -> int:
        return self._weights * (2 if self._bf16 else 4)

    def warm_up(self) -> None:
        """Have every thread make a picture."""
        self.generate(*some_input(self._spec, self.tile))

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB, for any B ≥ 1; EngineOutOfMemoryError without the memory for it.

        NotFiniteError where a picture holds NaN or infinity.
        """
        return in_tiles(self.begin, self.tile, z_BZ, y_BL)

    def begin(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> Finish:
        """Begin with up to a tile of pictures, two batches at a time; returns at once.

        What it returns hands them out, or raises as `generate` does.
        """
        batch = self._batches[0]
        self._batches.reverse()
        batch.start(z_BZ, y_BL)
        return batch.finish

    def halve_tile(self) -> bool:
        """False: pictures are computed one by one already."""
        return False


class _Batch:
    """Up to a tile of pictures on their way: a request for each, which reads from and writes to its
    row of arrays that all share.

    All are started at once: the threads go from one to the next without Python, which may be busy.
    """

    def __init__(self, compiled: ov.CompiledModel, spec: ModelSpec, tile: int) -> None:
        # No AsyncInferQueue: its Python takes as long as a small picture.
        self._requests = [compiled.create_infer_request() for _ in range(tile)]
        self._z_TZ = np.zeros((tile, spec.latent_dim), np.float32)
        self._y_TL = np.zeros((tile, spec.space.label_dim), np.float32)
        self._image_THWC = np.zeros((tile, spec.resolution, spec.resolution, 3), np.uint8)
        self._total_T = np.zeros(tile, np.float32)
        for row, request in enumerate(self._requests):
            request.set_input_tensor(0, _shared(self._z_TZ[row : row + 1]))
            if spec.space.label_dim:
                request.set_input_tensor(1, _shared(self._y_TL[row : row + 1]))
            request.set_output_tensor(0, _shared(self._image_THWC[row : row + 1]))
            request.set_output_tensor(1, _shared(self._total_T[row : row + 1].reshape(())))
        self._started = 0
        self._failure: RuntimeError | None = None

    def start(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> None:
        """Begin with these pictures; what goes wrong is said by `finish`."""
        self._z_TZ[: len(z_BZ)] = z_BZ
        self._y_TL[: len(y_BL)] = y_BL
        self._started, self._failure = 0, None
        try:
            for request in self._requests[: len(z_BZ)]:
                request.start_async()
                self._started += 1
        except RuntimeError as error:
            self._failure = error

    def finish(self) -> NDArray[np.uint8]:
        """Wait for the pictures: image_BHWC. EngineOutOfMemoryError, NotFiniteError."""
        for request in self._requests[: self._started]:
            try:
                request.wait()
            except RuntimeError as error:
                # Go on: each request must be free when the next batch comes.
                self._failure = error
        if self._failure is not None:
            if "bad_alloc" not in str(self._failure):
                raise self._failure
            raise EngineOutOfMemoryError(str(self._failure)) from self._failure
        bad = self._started - int(np.isfinite(self._total_T[: self._started]).sum())
        if bad:
            raise NotFiniteError.of(bad, self._started)
        return self._image_THWC[: self._started].copy()


def _give_way(niceness: int) -> None:
    """Let every other thread go before this one and those it starts."""
    if niceness and sys.platform == "linux":
        with suppress(OSError):  # not to be had here
            thread = threading.get_native_id()
            wanted = max(niceness, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, wanted)


def _shared(array: NDArray[Any]) -> ov.Tensor:
    """OpenVINO reads from it and writes to it in place."""
    return ov.Tensor(array, shared_memory=True)
