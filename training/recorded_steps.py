"""Whole training steps as CUDA graphs: recorded once, then played with new inputs.

A step is thousands of small kernels, and Python hands them to a large GPU more slowly than it runs
them. A recorded step is one call. What a graph cannot hold is taken step by step instead: a phase
that still changes what is computed, an augmentation that adapts, several processes. Knows nothing
about schedules, files or data sets.
"""

from dataclasses import dataclass, replace

import torch

from training.errors import TrainingError
from training.inputs import Inputs
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Scalars, Setup, r1_due, step

WARM_UP = 3
"""Steps of a kind before it is recorded: kernels are chosen and moments made outside of it."""


@dataclass(frozen=True)
class _Kind:
    """What a recording depends on."""

    resolution: int
    batch_size: int
    generator_learns: bool
    lower_learn: bool
    with_r1: bool


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    """Where the graph reads; filled before it is played."""
    scalars: Scalars
    """Where it writes; to be read before it is played again."""


class Steps:
    """Calls of `step`, recorded where they can be. The first ones of each kind are plain."""

    def __init__(self, state: TrainingState, setup: Setup) -> None:
        self._state, self.setup = state, setup
        on_gpu = setup.device.type == "cuda"
        adapts = setup.config.augment.mode == "adaptive"
        self._records = (
            setup.config.record_steps and on_gpu and setup.world.size == 1 and not adapts
        )
        self._stream = torch.cuda.Stream() if on_gpu else None
        if on_gpu:
            # Kernels are chosen by trying: sizes stay the same for thousands of steps.
            torch.backends.cudnn.benchmark = True
        self._size = (0, 0)
        self._taken: dict[_Kind, int] = {}
        self._recordings: dict[_Kind, _Recording] = {}

    @property
    def warm_up(self) -> int:
        """How many steps of a kind it takes until one tells how long they take."""
        return WARM_UP + 2 if self._records else 1

    def __call__(self, inputs: Inputs, phase: Phase) -> Scalars:
        """One step, as `step` takes it. Read the scalars before the next one.

        Raises TrainingError where a step cannot be recorded.
        """
        if not self._records or phase.fading or phase.label_influence < 1:
            return step(self._state, inputs, phase, self.setup)
        kind = _Kind(
            phase.resolution,
            phase.batch_size,
            phase.generator_learns,
            phase.lower_share > 0,
            r1_due(self._state, self.setup),
        )
        self._make_room(kind)
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream())
        if self._taken.setdefault(kind, 0) < WARM_UP:
            self._taken[kind] += 1
            # On the stream that records: autograd remembers where a weight was first used.
            with torch.cuda.stream(self._stream):
                scalars = step(self._state, inputs, phase, self.setup)
        else:
            if kind not in self._recordings:
                self._recordings[kind] = self._record(inputs, phase)
            recording = self._recordings[kind]
            with torch.cuda.stream(self._stream):
                for name, place in recording.inputs.tensors().items():
                    place.copy_(getattr(inputs, name))
                recording.graph.replay()
            scalars = recording.scalars
        torch.cuda.current_stream().wait_stream(self._stream)
        return scalars

    def _make_room(self, kind: _Kind) -> None:
        """Recordings of another size are not played again: their memory is wanted."""
        size = kind.resolution, kind.batch_size
        if size != self._size:
            self._size = size
            self._taken.clear()
            self._recordings.clear()

    def _record(self, inputs: Inputs, phase: Phase) -> _Recording:
        places = replace(inputs, **{n: value.clone() for n, value in inputs.tensors().items()})
        graph = torch.cuda.CUDAGraph()
        # They are never played at once, and nothing of one is read after another: one memory.
        pool = next((r.graph.pool() for r in self._recordings.values()), None)
        try:
            with torch.cuda.graph(graph, pool=pool, stream=self._stream):
                scalars = step(self._state, places, phase, self.setup)
        except RuntimeError as error:
            raise TrainingError(
                f"a training step cannot be recorded on this device "
                f"({str(error).splitlines()[0]}): go on with --set record_steps=false"
            ) from error
        return _Recording(graph, places, scalars)
