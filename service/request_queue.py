"""Bounded FIFO between the event loop, which puts, and the engine's thread, which takes.

Knows nothing about HTTP or engines. Each entry has a deadline. One whose caller has gone
leaves the queue at once; one whose deadline has passed is never handed out: neither costs
the engine anything. Who might not be served within the deadline is refused on arrival.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.errors import DeadlineError, QueueFullError, VisageError
from service.telemetry import Telemetry

WAITING_SHARE = 0.5
"""Of the time until the deadline, what the queue may take by its estimate. The rest is for the
batch under way, for encoding, and for an engine that grows slower than it was lately."""

PACE_MEMORY = 0.8
"""Weight of the past in the average seconds per picture."""


def pace_after(before: float, seconds: float) -> float:
    """The average seconds per picture, `before` and now that one took `seconds`; 0: none yet."""
    return PACE_MEMORY * before + (1 - PACE_MEMORY) * seconds if before else seconds


@dataclass(frozen=True)
class Inferred:
    """A computed picture and what it took, in seconds."""

    image: NDArray[np.uint8]
    """image_HWC, RGB."""
    queue_seconds: float
    inference_seconds: float


@dataclass(eq=False)
class Entry:
    """One waiting request. `deadline` and `queued_at` are `time.monotonic()` seconds."""

    z: NDArray[np.float32]
    y: NDArray[np.float32]
    deadline: float
    future: asyncio.Future[Inferred]
    queued_at: float = field(default_factory=time.monotonic)
    taken: bool = False


Refusal = Callable[[], VisageError]
"""Makes the error for one caller: an exception raised twice would keep both callers' frames."""


class RequestQueue:
    """At most `capacity` entries wait. `submit` belongs to the event loop, the rest to anyone."""

    def __init__(self, capacity: int, telemetry: Telemetry) -> None:
        self.capacity = capacity
        self._telemetry = telemetry
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closed: Refusal | None = None
        self._nudged = False
        self._seconds_per_entry = 0.0
        # Whose callers wait, in the queue or for the engine; these belong to the event loop.
        self._watched: set[Entry] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    async def submit(
        self,
        z_Z: NDArray[np.float32],
        y_L: NDArray[np.float32],
        *,
        deadline: float,
    ) -> Inferred:
        """Wait for the picture of one latent.

        Raises QueueFullError at once when the queue is full, DeadlineError when `deadline`
        (`time.monotonic()` seconds) passes, the refusal it was closed with when closed, and
        whatever the engine made of the batch. A cancelled caller leaves the queue.
        """
        future: asyncio.Future[Inferred] = asyncio.get_running_loop().create_future()
        entry = Entry(z_Z, y_L, deadline, future)
        self._put(entry)
        self._watch(entry)
        try:
            return await future
        except TimeoutError:
            raise DeadlineError(
                "The picture was not ready within the time a request may take; try again later."
            ) from None
        except asyncio.CancelledError:
            stage = "running" if entry.taken else "queued"
            self._telemetry.requests_cancelled.labels(stage=stage).inc()
            raise
        finally:
            self._watched.discard(entry)
            self._leave(entry)

    def take(
        self, limit: int, *, wait: float = 0.0, patience: float | None = None
    ) -> list[Entry] | None:
        """The next 1 to `limit` live entries, in order of arrival; blocks until there are any.

        Empty only once closed and empty. Where there are fewer than `limit`, waits up to `wait`
        seconds for company. None when nothing came for `patience` seconds, or on a nudge.
        """
        with self._changed:
            while True:
                came = self._changed.wait_for(
                    lambda: self._entries or self._closed or self._nudged, timeout=patience
                )
                self._nudged = False
                if not self._entries:
                    return [] if came and self._closed else None
                if wait > 0:
                    self._changed.wait_for(
                        lambda: len(self._entries) >= limit or self._closed, timeout=wait
                    )
                if batch := self._pop_live(limit):
                    return batch

    def take_waiting(self, limit: int) -> list[Entry]:
        """Up to `limit` live entries that wait now, in order of arrival."""
        if not self._entries:
            return []
        with self._changed:
            return self._pop_live(limit)

    def nudge(self) -> None:
        """Let a waiting `take` return None, so that its caller can look for other work."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def set_pace(self, seconds_per_entry: float) -> None:
        """How long the engine takes for one entry lately; newcomers are admitted by it."""
        self._seconds_per_entry = seconds_per_entry

    def close(self, refusal: Refusal) -> None:
        """Accept nothing more, answering `refusal`. What waits stays."""
        with self._changed:
            self._closed = refusal
            self._changed.notify_all()

    def abandon(self, refusal: Refusal) -> None:
        """Close, and refuse everything that waits too: there is no engine any more."""
        self.close(refusal)
        with self._changed:
            waiting = list(self._entries)
            self._entries.clear()
        settle((entry, refusal()) for entry in waiting)

    def nearly_full(self, patience: float, places: int) -> bool:
        """Whether there is `no_room` now or after so many more, in a queue that is not closed."""
        waiting = len(self._entries) + places
        return self._closed is None and (
            waiting >= self.capacity or waiting * self._seconds_per_entry > WAITING_SHARE * patience
        )

    def no_room(
        self, patience: float, pictures: int = 1, *, coming: int = 0
    ) -> QueueFullError | None:
        """Why there is none for a request of so many that may take `patience` seconds, if so.

        `coming`: others that are on their way here, and count as if they waited already. Whether
        it is closed is not asked here.
        """
        waiting = len(self._entries) + coming
        # More than fit at once come one after the other, as far as there is room.
        further = min(pictures, self.capacity) - 1
        seconds = (waiting + further) * self._seconds_per_entry
        retry_after = max(1, math.ceil(seconds / 2))
        if waiting + further >= self.capacity:
            full = f"{self.capacity} requests are waiting already, which is as many as may"
            if further:
                full = f"{waiting} of {self.capacity} places are taken, and {pictures} are needed"
            return QueueFullError(f"{full}; try again in a moment.", retry_after=retry_after)
        if seconds > WAITING_SHARE * patience:
            return QueueFullError(
                f"{waiting} requests are waiting already, which will take {seconds:.1f} seconds"
                f"{f' with {pictures} more' if further else ''}, "
                "too long to be sure of an answer in time; try again later.",
                retry_after=retry_after,
                reason="deadline",
            )
        return None

    def check(self, patience: float, pictures: int = 1) -> None:
        """Raise what `submit` would for a request of so many that may take `patience` seconds.

        It spares whoever is refused anyway the work before `submit`, and the engine's thread the
        wait for it; room now is no promise.
        """
        if self._closed is not None:
            raise self._closed()
        if error := self.no_room(patience, pictures):
            raise error

    def _put(self, entry: Entry) -> None:
        with self._changed:
            self.check(entry.deadline - entry.queued_at)
            self._entries.append(entry)
            self._changed.notify()

    def _watch(self, entry: Entry) -> None:
        """See to it that the caller wakes up when the deadline passes.

        One timer for all: setting one for each takes as long as a tenth of everything else.
        """
        self._watched.add(entry)
        if self._timer is None or entry.deadline < self._timer_due:
            self._set_timer(entry.deadline)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        delay = max(0.0, due - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        for entry in self._watched:
            if entry.deadline <= now and not entry.future.done():
                entry.future.set_exception(TimeoutError())
        waiting = [entry.deadline for entry in self._watched if not entry.future.done()]
        if waiting:
            self._set_timer(min(waiting))

    def _leave(self, entry: Entry) -> None:
        if not entry.taken:
            with self._changed, suppress(ValueError):
                self._entries.remove(entry)

    def _pop_live(self, limit: int) -> list[Entry]:
        batch: list[Entry] = []
        now = time.monotonic()
        while self._entries and len(batch) < limit:
            entry = self._entries.popleft()
            # The caller of an expired entry wakes up by its own clock.
            if entry.deadline > now and not entry.future.done():
                entry.taken = True
                batch.append(entry)
        return batch


def settle(outcomes: Iterable[tuple[Entry, Inferred | Exception]]) -> None:
    """From any thread: tell whoever still waits for an entry what became of it, on its event loop.

    An exception is raised to one caller only, who will write its frames into it: give each its own.
    """

    def on_loop(outcomes: Sequence[tuple[Entry, Inferred | Exception]]) -> None:
        for entry, outcome in outcomes:
            if entry.future.done():
                continue
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Entry, Inferred | Exception]]] = {}
    for entry, outcome in outcomes:
        by_loop.setdefault(entry.future.get_loop(), []).append((entry, outcome))
    for loop, group in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(on_loop, group)
