"""Circuit breaker: whether something that failed may be tried again yet.

Knows nothing about what it protects, and does nothing itself: whoever calls asks first and
reports after. After a failure nothing is let through for a while, then one probe; each probe
that fails doubles the while, one that succeeds ends it (M. Nygard, "Release It!", ch. 5).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One call that was let through; hand it back with what became of it."""

    era: int
    is_probe: bool


class Breaker:
    """Closed (all pass) until an attempt fails. Pauses grow from `first` to `longest` seconds."""

    def __init__(
        self,
        *,
        first: float = 0.05,
        longest: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._longest = longest
        self._clock = clock
        self._era = 0
        self._pause = 0.0
        self._closed = True
        self._retry_at = 0.0
        self._probing = False

    def enter(self) -> Attempt | None:
        """Leave to try, or None."""
        if self._closed:
            return Attempt(self._era, is_probe=False)
        if self._probing or self._clock() < self._retry_at:
            return None
        self._probing = True
        return Attempt(self._era, is_probe=True)

    def failed(self, attempt: Attempt) -> bool:
        """Report a failure; whether it is the first after all was well.

        Only one failure counts in each era: calls that were under way together fail together.
        """
        if attempt.era != self._era:
            return False
        is_first = self._closed
        self._pause = self._first if is_first else min(2 * self._pause, self._longest)
        self._begin_era(closed=False)
        self._retry_at = self._clock() + self._pause
        return is_first

    def succeeded(self, attempt: Attempt) -> bool:
        """Report a success; whether it is the first after failures."""
        if attempt.era != self._era or self._closed:
            return False
        self._begin_era(closed=True)
        return True

    def left(self, attempt: Attempt) -> None:
        """Report that nothing can be said: the caller was cancelled."""
        if attempt.era == self._era:
            self._probing = False

    def _begin_era(self, *, closed: bool) -> None:
        self._era += 1
        self._closed = closed
        self._probing = False
