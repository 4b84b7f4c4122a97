"""How many pixels of large pictures may be in the making at once: more would be memory without end.

Knows nothing about what is made. The queue bounds what the engine has to do; sheets and animations
are whole in memory until they are encoded, which takes longer than the engine does.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from service.errors import QueueFullError


class Reservation:
    """What was taken of a budget; `give_back` is called once nobody needs it any more."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._lock = threading.Lock()
        self._users = 1

    def lasts_until_done(self, job: Future[Any]) -> None:
        """Keep it until `job` is, too: a thread works on, whoever waited for it has left."""
        with self._lock:
            self._users += 1
        job.add_done_callback(lambda _: self.leave())

    def leave(self) -> None:
        """One user less; from any thread."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._give_back()


class PixelBudget:
    """At most `most` pixels at a time. What is spent may come back from any thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def spend(self, pixels: int) -> Iterator[Reservation]:
        """Take `pixels` until the block is left, or as long as the reservation lasts after that.

        QueueFullError at once where they are not free. What is larger than the whole budget is let
        in when nothing else is in the making.
        """
        with self._lock:
            full = self.taken and self.taken + pixels > self.most
            if not full:
                self.taken += pixels
        if full:
            raise QueueFullError(
                "As many large pictures are in the making as may be; try again in a moment, or ask "
                "for a smaller one.",
                retry_after=2,
            )
        reservation = Reservation(lambda: self._take_back(pixels))
        try:
            yield reservation
        finally:
            reservation.leave()

    def _take_back(self, pixels: int) -> None:
        with self._lock:
            self.taken -= pixels


BUDGET = PixelBudget(2**26)
"""Of this process, since memory is the process's: three bytes a pixel, some 200 MB."""
