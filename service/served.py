"""One model that is served: its queue, engine thread and reservoir, held by who works with it.

Knows nothing about other models or HTTP. Belongs to the event loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.batcher import Batcher
from service.judge import Judge
from service.labels import ModelSpec
from service.request_queue import RequestQueue
from service.reservoir import Reservoir


class Served:
    """One model and the way to it. Use it only while holding it."""

    def __init__(self, batcher: Batcher, queue: RequestQueue, reservoir: Reservoir) -> None:
        self.batcher = batcher
        self.queue = queue
        self.reservoir = reservoir
        self._holders = 0
        self.retired = False
        """Whether it was told to end."""

    @property
    def spec(self) -> ModelSpec:
        """What it is, while it can be served: NotReadyError or DrainingError otherwise."""
        return self.batcher.spec()

    @property
    def tile(self) -> int:
        return self.batcher.tile

    @property
    def judge(self) -> Judge | None:
        """Of its pictures, where its spec names a critic."""
        return self.batcher.judge

    @contextmanager
    def hold(self) -> Iterator["Served"]:
        """Keep it going, whatever replaces it, until the block is left."""
        self._holders += 1
        try:
            yield self
        finally:
            self._holders -= 1
            self._end_if_unused()

    def retire(self) -> None:
        """No new holders come: end once the last one has let go."""
        self.retired = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self.retired and not self._holders:
            self.end()

    def end(self) -> None:
        """Accept nothing more, finish what waits."""
        self.batcher.drain()
        if (judge := self.judge) is not None:  # else its thread has ended, or never began
            judge.close()
