"""Pictures by torch on a CUDA device: half precision, one CUDA graph per model, at its tile.

A tile's inputs and pictures pass through pinned memory; pictures leave on a stream of their own, so
that the next tile is computed while the last one is copied, and encoded on other threads, from that
same memory. Why so, and what it gave: docs/decisions/0011-cuda-graph.md.
"""

import threading
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Checkpoint, to_pixels
from service.engine_protocol import Critic, Finish, in_tiles, some_input
from service.errors import EngineOutOfMemoryError, NotFiniteError
from service.labels import ModelSpec

WARM_UP_STEPS = 3
"""Before a graph is recorded: kernels are chosen and libraries loaded outside of it."""
SLOTS = 2
"""Tiles on their way at once: one is computed, one leaves."""
_RECORDING = threading.Lock()
"""Models load on threads of their own, and torch records one graph at a time in a process."""


class CudaEngine:
    """The folded generator of one checkpoint on a GPU. `spec.engine` is filled in here.

    `precision`: `auto` is bf16 where the device has it, else fp16. Raises ValueError for bf16
    where it has not, and where there is no CUDA device.
    """

    critic: Critic | None = None

    def __init__(
        self, checkpoint: Checkpoint, spec: ModelSpec, *, tile: int, precision: str = "auto"
    ) -> None:
        if not torch.cuda.is_available():
            raise ValueError("there is no CUDA device: use auto")
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "bf16" and not native:
            raise ValueError("this GPU has no bf16: use fp32 or auto")
        half = torch.bfloat16 if native else torch.float16
        self._dtype = torch.float32 if precision == "fp32" else half
        self._device = torch.device("cuda")
        generator = checkpoint.build().fold().to(self._device, self._dtype)
        self._generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._spec = spec
        self._tile = tile
        self._slots: list[_Slot] = []
        self._next_slot = 0
        self._compute = torch.cuda.Stream()
        self._copy = torch.cuda.Stream()
        self._lay_out()

    @property
    def spec(self) -> ModelSpec:
        version = torch.__version__.partition("+")[0]
        precision = {torch.float32: "fp32", torch.float16: "fp16"}.get(self._dtype, "bf16")
        device = torch.cuda.get_device_name(self._device)
        return replace(
            self._spec,
            engine=f"torch {version} cuda {torch.version.cuda} {device} {precision}, "
            f"tile {self._tile}",
        )

    @property
    def tile(self) -> int:
        return self._tile

    @property
    def weights_bytes(self) -> int:
        return sum(p.nbytes for p in self._generator.parameters())

    def warm_up(self) -> None:
        """Record the graph and run it once."""
        self.generate(*some_input(self._spec, self._tile))

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB, for any B ≥ 1; EngineOutOfMemoryError without the memory for it.

        NotFiniteError where a picture holds NaN or infinity.
        """
        return in_tiles(self.begin, self._tile, z_BZ, y_BL)

    @torch.inference_mode()
    def begin(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> Finish:
        """Begin with up to a tile of pictures, as many tiles at a time as there are slots.

        What it returns hands them out, or raises as `generate` does.
        """
        try:
            if self._graph is None:
                with _RECORDING:
                    self._record()
            slot = self._slots[self._next_slot]
            self._next_slot = (self._next_slot + 1) % SLOTS
            image_BHWC, total_B = self._launch(slot, z_BZ, y_BL)
        except torch.OutOfMemoryError as error:
            torch.cuda.synchronize()  # nothing may still write to what is given up
            raise EngineOutOfMemoryError(str(error)) from error
        return lambda: slot.arrive(image_BHWC, total_B)

    def halve_tile(self) -> bool:
        """Need less memory from now on; False where the tile is one picture already."""
        if self._tile == 1:
            return False
        self._tile //= 2
        self._lay_out()
        torch.cuda.empty_cache()
        return True

    def _lay_out(self) -> None:
        """Memory for the present tile; its graph is recorded when it is first needed."""
        shape = (self._tile, self._spec.latent_dim), (self._tile, self._spec.space.label_dim)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._z_TZ, self._y_TL = (torch.zeros(s, device=self._device) for s in shape)
        self._image_THWC: Tensor | None = None
        self._total_T: Tensor | None = None
        self._next_slot = 0
        self._slots = [_Slot(*shape, side=self._spec.resolution) for _ in range(SLOTS)]

    def _run(self) -> tuple[Tensor, Tensor]:
        """Pixels, and the sum of each picture before: finite where all of its numbers were."""
        y_TL = self._y_TL.to(self._dtype) if self._spec.space.label_dim else None
        image_TCHW = self._generator(self._z_TZ.to(self._dtype), y_TL)
        return to_pixels(image_TCHW), image_TCHW.sum(dim=(1, 2, 3), dtype=torch.float32)

    def _record(self) -> None:
        """The graph of a tile, with kernels that make the same bytes each time, in full fp32 too.

        Which kernels is decided here, once: what else the process computes is left as it was.
        """
        self._compute.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            with torch.cuda.stream(self._compute):
                for _ in range(WARM_UP_STEPS):
                    self._run()
            self._compute.synchronize()
            # Other threads' models go on meanwhile, which the default mode takes for an error.
            with torch.cuda.graph(graph, stream=self._compute, capture_error_mode="thread_local"):
                self._image_THWC, self._total_T = self._run()
        self._graph = graph

    def _launch(
        self, slot: "_Slot", z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor]:
        """Compute up to a tile of pictures and send them on their way; returns at once.

        Where the pictures and their sums arrive: pinned memory that is nobody else's, so that
        they are handed out without a copy. torch takes it back when the last of them is gone.
        """
        assert self._graph is not None
        assert self._image_THWC is not None
        assert self._total_T is not None
        count = len(z_BZ)
        image_BHWC = torch.empty(
            (count, *self._image_THWC.shape[1:]), dtype=torch.uint8, pin_memory=True
        )
        total_B = torch.empty(count, pin_memory=True)
        # A short batch leaves old rows behind as padding: rows do not see one another.
        slot.z_TZ[:count] = torch.from_numpy(np.ascontiguousarray(z_BZ))
        slot.y_TL[:count] = torch.from_numpy(np.ascontiguousarray(y_BL))
        with torch.cuda.stream(self._compute):
            self._z_TZ.copy_(slot.z_TZ, non_blocking=True)
            self._y_TL.copy_(slot.y_TL, non_blocking=True)
            self._graph.replay()
            # The graph writes its pictures to one place, which the next tile overwrites.
            slot.image_THWC[:count].copy_(self._image_THWC[:count])
            slot.total_T[:count].copy_(self._total_T[:count])
            slot.computed.record(self._compute)
        with torch.cuda.stream(self._copy):
            self._copy.wait_event(slot.computed)
            image_BHWC.copy_(slot.image_THWC[:count], non_blocking=True)
            total_B.copy_(slot.total_T[:count], non_blocking=True)
            slot.arrived.record(self._copy)
        return image_BHWC, total_B


class _Slot:
    """One tile on its way: pinned inputs, and its pictures on the device."""

    def __init__(self, z_shape: tuple[int, int], y_shape: tuple[int, int], *, side: int) -> None:
        pictures = (z_shape[0], side, side, 3)
        self.z_TZ = torch.zeros(z_shape, pin_memory=True)
        self.y_TL = torch.zeros(y_shape, pin_memory=y_shape[1] > 0)
        self.image_THWC = torch.empty(pictures, dtype=torch.uint8, device="cuda")
        self.total_T = torch.empty(z_shape[0], device="cuda")
        self.computed = torch.cuda.Event()
        self.arrived = torch.cuda.Event(blocking=True)  # who waits lets others compute

    def arrive(self, image_BHWC: Tensor, total_B: Tensor) -> NDArray[np.uint8]:
        """Wait for the pictures that are on their way to `image_BHWC`. NotFiniteError."""
        self.arrived.synchronize()
        count = len(total_B)
        bad = count - int(total_B.isfinite().sum())
        if bad:
            raise NotFiniteError.of(bad, count)
        return image_BHWC.numpy()
