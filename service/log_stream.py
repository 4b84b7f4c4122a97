"""Where the log goes: a stream that loses what it cannot write, rather than stop the service.

Knows nothing about what is logged. A full disk, a pipe whose reader is gone and one whose reader
sleeps all end in lost lines, which are counted, and in nothing else.
"""

import os
import select
import threading
import time
from contextlib import suppress
from functools import cache

from prometheus_client import Counter

PATIENCE = 0.1
"""Seconds to wait for a reader who was quick until now; one who sleeps is not waited for again."""
_AT_ONCE = select.PIPE_BUF
"""Bytes for which a pipe that can be written to is sure to have room."""


@cache
def lines_lost() -> Counter:
    """Of this process; each app's registry shows it.

    Made when it is first asked for, so that several processes' lines are counted as one
    (service/metrics_shared.py).
    """
    return Counter(
        "log_lines_lost_total",
        "Lines that could not be written to the log.",
        namespace="visage",
        registry=None,
    )


class LogStream:
    """Text for the file descriptor `target`, at once. Never raises, never waits for long."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._poll = select.poll()
        self._poll.register(target, select.POLLOUT)
        self._slow = False
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write all of it, or count it as lost."""
        left = memoryview(text.encode(errors="backslashreplace"))
        give_up = time.monotonic() + (0 if self._slow else PATIENCE)
        with self._lock, suppress(OSError):
            while left:
                wait = max(0.0, give_up - time.monotonic())
                self._slow = not self._poll.poll(wait * 1000)
                if self._slow:
                    break
                left = left[os.write(self._target, left[:_AT_ONCE]) :]
        if left:
            lines_lost().inc()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """Whether people read it in a terminal."""
        try:
            return os.isatty(self._target)
        except OSError:
            return False
