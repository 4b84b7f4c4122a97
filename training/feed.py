"""The inputs of one step after another, on a GPU the next ones while a step is computed.

They are pure functions of the position, so what is prepared ahead and not taken is no loss. Knows
nothing about networks.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from training.config import TrainConfig
from training.distributed import World
from training.inputs import Inputs, inputs_at
from training.sampler import Sampler
from training.schedule import Phase, phase_at


@dataclass(frozen=True)
class _Ahead:
    images_seen: int
    inputs: Future[tuple[Inputs, torch.cuda.Event | None]]


class Feed:
    """Inputs of this process's rows of each batch; `ahead`: prepared by another thread, as long as
    there is a GPU to wait for by default."""

    def __init__(
        self,
        sampler: Sampler,
        config: TrainConfig,
        world: World,
        device: torch.device,
        *,
        ahead: bool | None = None,
    ) -> None:
        self._sampler, self._config, self._world, self._device = sampler, config, world, device
        on_gpu = device.type == "cuda"
        self._thread = ThreadPoolExecutor(1) if (on_gpu if ahead is None else ahead) else None
        self._stream = torch.cuda.Stream() if on_gpu else None
        self._next: _Ahead | None = None

    def close(self) -> None:
        """End the thread; what it prepares meanwhile is dropped."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def take(self, images_seen: int, phase: Phase) -> Inputs:
        """Inputs of the step after `images_seen` images, in that phase."""
        if self._next is None or self._next.images_seen != images_seen:
            return self._inputs(images_seen, phase)
        inputs, copied = self._next.inputs.result()
        self._next = None
        if copied is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(copied)
            for value in inputs.tensors().values():
                value.record_stream(stream)
        return inputs

    def prepare(self, images_seen: int) -> None:
        """Begin with those that will be taken next."""
        if self._thread is not None:
            self._next = _Ahead(images_seen, self._thread.submit(self._prepared, images_seen))

    def _prepared(self, images_seen: int) -> tuple[Inputs, torch.cuda.Event | None]:
        phase = phase_at(images_seen, self._config)
        if self._stream is None:
            return self._inputs(images_seen, phase), None
        # Copies wait on a stream of their own, not for the step that is computed.
        with torch.cuda.stream(self._stream):
            return self._inputs(images_seen, phase), self._stream.record_event()

    def _inputs(self, images_seen: int, phase: Phase) -> Inputs:
        take = self._world.rows(phase.batch_size)
        return inputs_at(
            images_seen, phase, self._sampler, self._config, take=take, device=self._device
        )
