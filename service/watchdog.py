"""Turns at a device that several models share, and who is stuck in one.

Knows nothing about engines or requests. Nothing can end a stuck thread but a new process; it can
be noticed.
"""

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Device:
    """Held by one thread at a time, in the order in which they came; a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        # A lock would let whoever gives it up take it again before anyone who waits wakes.
        self._waiting: deque[threading.Lock] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiting)

    def __enter__(self) -> None:
        with self._lock:
            if not self._held:
                self._held = True
                return
            ours = threading.Lock()
            ours.acquire()
            self._waiting.append(ours)
        ours.acquire()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


class Watchdog:
    """One thread takes turns at the device; anyone may look how long one has lasted."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._since: float | None = None
        self._thread = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The device, for a batch or more. Waiting for it counts: whoever has it may be stuck."""
        self._thread = threading.get_ident()
        self._since = time.monotonic()
        try:
            with self._device:
                yield
        finally:
            self._since = None

    def renew(self) -> None:
        """The turn goes on with another batch."""
        self._since = time.monotonic()

    @property
    def device_wanted(self) -> bool:
        """Whether somebody else waits for the device."""
        return self._device.wanted

    @property
    def busy_seconds(self) -> float:
        """How long the present batch has taken; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def stack(self) -> str:
        """Where the thread is now."""
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)) if frame else ""
