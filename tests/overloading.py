"""Far more requests than a server can answer: what it could do before, does meanwhile and after.

Knows nothing about what is good enough: who calls judges. Capacity is measured first, in the same
run, so that all figures are ratios.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from traffic import Tally, closed_loop, new_faces, open_loop
from watching import Footprint

TIMES = 5
"""Requests offered over requests that could be answered."""


@dataclass(frozen=True)
class Pace:
    """What a server does when it is asked for just as much as it can do."""

    rate: float
    """Answers a second."""
    cpu_seconds: float
    """Of the server's processor time for each answer: the same on a busy machine."""
    tally: Tally


@dataclass(frozen=True)
class Overload:
    """One load of `TIMES` the capacity, and the same server two seconds later."""

    tally: Tally
    seconds: float
    before: Footprint
    after: Footprint
    recovered: Pace

    @property
    def refused(self) -> int:
        return sum(answer.status in (429, 503) for answer in self.tally.answers)

    @property
    def wrong(self) -> list[tuple[int, dict[str, str]]]:
        """Answers that an overloaded server must not give."""
        return [
            (answer.status, answer.headers)
            for answer in self.tally.answers
            if answer.status != 200
            and not (answer.status in (429, 503) and answer.says_when_to_retry)
        ]

    @property
    def growth(self) -> float:
        """Resident memory after, over that before."""
        return self.after.resident / self.before.resident


async def measure_pace(url: str, pid: int, targets: Iterator[str], *, requests: int) -> Pace:
    """Enough clients that the engine is never idle, and so few that nobody is refused."""
    started, before = time.monotonic(), Footprint.of(pid)
    tally = await closed_loop(url, targets, clients=16, requests=requests)
    seconds = time.monotonic() - started
    cpu_seconds = Footprint.of(pid).cpu_seconds - before.cpu_seconds
    return Pace(requests / seconds, cpu_seconds / requests, tally)


async def overload(
    url: str, pid: int, pace: Pace, *, closed: bool, seconds: float, clients: int, requests: int
) -> Overload:
    """Offer `TIMES` the measured rate; two seconds after the last request, measure it again.

    `closed`: by so many `clients` who wait for their answers, else by whoever comes along.
    """
    targets = new_faces(f"{'closed' if closed else 'open'}-{next(_runs)}")
    before, started, rate = Footprint.of(pid), time.monotonic(), TIMES * pace.rate
    if closed:
        tally = await closed_loop(url, targets, clients=clients, seconds=seconds, rate=rate)
    else:
        tally = await open_loop(url, targets, rate=rate, seconds=seconds)
    lasted = time.monotonic() - started
    after = Footprint.of(pid)
    await asyncio.sleep(max(0.0, seconds + 2 - lasted))
    recovered = await measure_pace(url, pid, targets, requests=requests)
    return Overload(tally, lasted, before, after, recovered)


_runs = count()
