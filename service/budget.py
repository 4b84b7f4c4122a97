"""How many pixels of large pictures may be in the making at once: more would be memory without end.

Knows nothing about what is made. The queue bounds what the engine has to do; sheets and animations
are whole in memory until they are encoded, which takes longer than the engine does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import QueueFullError
from service.telemetry import Telemetry


class PixelBudget:
    """At most `most` pixels at a time. Belongs to the event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @contextmanager
    def spend(self, pixels: int, telemetry: Telemetry) -> Iterator[None]:
        """Take `pixels` until the block is left; QueueFullError at once where they are not free.

        What is larger than the whole budget is let in when nothing else is in the making.
        """
        if self.taken and self.taken + pixels > self.most:
            telemetry.requests_rejected.labels(reason="queue_full").inc()
            raise QueueFullError(
                "As many large pictures are in the making as may be; try again in a moment, or ask "
                "for a smaller one.",
                retry_after=2,
            )
        self.taken += pixels
        try:
            yield
        finally:
            self.taken -= pixels


BUDGET = PixelBudget(2**26)
"""Of this process, since memory is the process's: three bytes a pixel, some 200 MB."""
