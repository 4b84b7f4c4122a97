"""Notices a thread that is stuck in its turn at the device. Nothing can end it but a new process.

Knows nothing about engines or requests. One thread takes turns; anyone may look.
"""

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class Watchdog:
    """`device`: held during each turn."""

    def __init__(self, device: AbstractContextManager[Any]) -> None:
        self._device = device
        self._since: float | None = None
        self._thread = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The device, for one batch. Waiting for it counts: whoever has it may be stuck."""
        self._thread = threading.get_ident()
        self._since = time.monotonic()
        try:
            with self._device:
                yield
        finally:
            self._since = None

    @property
    def busy_seconds(self) -> float:
        """How long the present turn has taken; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def stack(self) -> str:
        """Where the thread is now."""
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)) if frame else ""
