"""A fleet under a trace: arrivals dealt out to replicas, a shared cache, an autoscaler.

Discrete events on a heap, in plain Python: the same seed gives the same figures, and a million
requests take some seconds, so a fleet of a million faces a minute can be looked at.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet.arrivals import Trace
from benchmarks.fleet.autoscaler import Autoscaler
from benchmarks.fleet.replica import (
    EXPIRED,
    FOUND,
    JOINED,
    LEFT,
    MADE,
    REFUSED,
    Lru,
    Replica,
    Settings,
    Shared,
)

SERVED = (FOUND, MADE, JOINED)


@dataclass
class Outcome:
    """What became of every request, and how the fleet looked meanwhile."""

    trace: Trace
    fate: NDArray[np.int8]
    seconds: NDArray[np.float64]
    """From arrival to answer; NaN where there was none."""
    duration: float
    looked_at: list[float] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    """Replicas that serve, each time it was looked at."""
    shared: Shared | None = None

    def count(self, *fates: int) -> int:
        """Requests that came to one of these ends."""
        return int(np.isin(self.fate, fates).sum())

    @property
    def served(self) -> NDArray[np.bool_]:
        return np.isin(self.fate, SERVED)

    @property
    def goodput(self) -> float:
        """Good answers a second that came while requests came."""
        came = self.trace.seconds + self.seconds
        return float((self.served & (came <= self.duration)).sum() / self.duration)

    def quantile(self, share: float) -> float:
        """Of the seconds of those served; NaN where nobody was."""
        seconds = self.seconds[self.served]
        return float(np.quantile(seconds, share)) if len(seconds) else float("nan")

    @property
    def hit_rate(self) -> float:
        """The share of the served for whom no picture was made."""
        return self.count(FOUND, JOINED) / max(1, self.count(*SERVED))


def simulate(
    trace: Trace,
    settings: Settings,
    replicas: int,
    *,
    duration: float,
    shared_faces: int | None = None,
    autoscaler: Autoscaler | None = None,
    look_every: float = 5.0,
) -> Outcome:
    """Deal the trace out in turn to so many replicas, or to as many as `autoscaler` wants.

    `shared_faces`: what Redis holds; None: there is none. After `duration` seconds nobody comes
    any more and what is under way counts as left.
    """
    heap: list[tuple[float, int, Callable[[float], None]]] = []
    order = iter(range(2**62))
    fate = np.full(len(trace), LEFT, np.int8)
    seconds = np.full(len(trace), np.nan)
    shared = None if shared_faces is None else Shared(Lru(shared_faces))
    outcome = Outcome(trace, fate, seconds, duration, shared=shared)
    due = trace.seconds.tolist()
    keys = trace.keys.tolist()

    def schedule(at: float, call: Callable[[float], None]) -> None:
        heapq.heappush(heap, (at, next(order), call))

    def settle(number: int, what: int, at: float) -> None:
        if at <= duration:
            fate[number], seconds[number] = what, at - due[number]

    def another() -> Replica:
        return Replica(settings, shared, schedule, settle)

    ready = [another() for _ in range(replicas)]

    def look(now: float) -> None:
        outcome.looked_at.append(now)
        outcome.ready.append(len(ready))
        schedule(now + look_every, look)

    def scale(now: float) -> None:
        assert autoscaler is not None
        wanted = autoscaler.decide(now, ready)
        for _ in range(wanted - len(ready) - autoscaler.starting):
            autoscaler.starting += 1
            schedule(now + autoscaler.cold_start, start)
        # Who leaves is asked no more, and finishes what waits there.
        del ready[max(1, wanted) :]
        schedule(now + autoscaler.every, scale)

    def start(_: float) -> None:
        assert autoscaler is not None
        autoscaler.starting -= 1
        ready.append(another())

    schedule(0.0, look)
    if autoscaler is not None:
        schedule(autoscaler.every, scale)
    for number in range(len(trace)):
        now = due[number]
        while heap and heap[0][0] <= now:
            at, _, call = heapq.heappop(heap)
            call(at)
        ready[number % len(ready)].arrive(number, keys[number], now)
    while heap and heap[0][0] <= duration:
        at, _, call = heapq.heappop(heap)
        call(at)
    return outcome


def summary(outcome: Outcome) -> dict[str, float]:
    """The figures that are held against measured ones."""
    total = max(1, len(outcome.trace))
    return {
        "goodput": outcome.goodput,
        "p50": outcome.quantile(0.5),
        "p99": outcome.quantile(0.99),
        "hit_rate": outcome.hit_rate,
        "refused": outcome.count(REFUSED) / total,
        "expired": outcome.count(EXPIRED) / total,
    }
