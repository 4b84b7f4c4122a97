"""Kubernetes' HorizontalPodAutoscaler as its documentation describes it, on queue or engine time.

Knows nothing about how replicas work inside: it is shown what Prometheus would have scraped.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.fleet.replica import Replica

TOLERANCE = 0.1
"""No change while the metric is so close to its target."""
UP_PODS, UP_FACTOR = 4, 2.0
"""Per decision, the larger of so many more and so many times as many: the defaults."""


@dataclass
class Autoscaler:
    """How many replicas there should be; keeps what it has seen."""

    least: int
    most: int
    metric: Literal["queue", "busy"]
    """Mean entries queued, or mean share of the time that engines were busy."""
    target: float
    every: float = 15.0
    scrape_delay: float = 15.0
    """How old what it sees is, on top of `every`."""
    calm: float = 300.0
    """Fewer replicas only once this long no more were wanted."""
    cold_start: float = 60.0
    """Seconds until a new replica serves."""
    starting: int = 0
    _seen: deque[tuple[float, float, int]] = field(default_factory=deque)
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _busy: dict[int, float] = field(default_factory=dict)

    def decide(self, now: float, ready: Sequence[Replica]) -> int:
        """The number of replicas wanted, of which `starting` are on their way."""
        self._seen.append((now, self._measure(ready), len(ready)))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self.scrape_delay:
            self._seen.popleft()
        _, value, measured_by = self._seen[0]
        current = len(ready) + self.starting
        ratio = value / self.target
        wanted = current
        if abs(ratio - 1) > TOLERANCE:
            wanted = math.ceil(measured_by * ratio)
            if ratio > 1:  # those that start already count as if they had no load yet
                wanted = max(wanted, current)
        ceiling = max(current + UP_PODS, math.floor(current * UP_FACTOR))
        wanted = min(max(wanted, self.least), self.most, ceiling)
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self.calm:
            self._wanted.popleft()
        return max(wanted, min(current, max(number for _, number in self._wanted)))

    def _measure(self, ready: Sequence[Replica]) -> float:
        if self.metric == "queue":
            return sum(replica.queued for replica in ready) / len(ready)
        spent = {id(replica): replica.busy_seconds for replica in ready}
        busy = sum(seconds - self._busy.get(which, 0.0) for which, seconds in spent.items())
        self._busy = spent
        return busy / len(ready) / self.every
