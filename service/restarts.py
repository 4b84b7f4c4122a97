"""When the successor of a process that ended is started, and when there is no hope any more.

Knows nothing about processes.
"""

from dataclasses import dataclass

STEADY = 60.0
"""Seconds that a process has to live for its end not to count with the one before it."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before a successor is started; doubled each time."""
HOPELESS = 5
"""Starts in a row that came to nothing while no other process was ready, after which to give up."""


@dataclass
class Restarts:
    """Of one process and its successors."""

    proven: bool = False
    """Whether any of them has ever been ready."""
    failures: int = 0
    """Ends in a row, none of them after a steady life."""

    def after(self, lived: float, *, was_ready: bool, others_ready: bool) -> float | None:
        """Seconds to wait before the next one, now that one ended after `lived`; None: give up."""
        self.proven |= was_ready
        self.failures = 1 if was_ready and lived >= STEADY else self.failures + 1
        if not self.proven:  # so it is the settings, the checkpoint or the machine
            return None
        if self.failures >= HOPELESS and not others_ready:
            return None
        doublings = min(self.failures - 1, 10)  # of many days' failures there is no power of two
        return min(FIRST_DELAY * 2.0**doublings, LONGEST_DELAY)
