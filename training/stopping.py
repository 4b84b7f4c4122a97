"""SIGINT and SIGTERM as requests: a run stops between two steps, with everything written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """Set by SIGINT or SIGTERM: finish the step, write a snapshot, leave."""

    signal: int | None = None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second SIGINT interrupts."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        stop.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
