"""One simulated server: its cache, its bounded queue with deadlines, its engine.

The rules are the service's own: `service/request_queue.py` says who is let in and who is dropped,
`service/batcher.py` how batches form and how the pace is estimated, `service/cache.py` who waits
for whom. Left out: the reservoir, cancelled callers, failing engines. Knows nothing about other
replicas but through `Shared`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.fleet.arrivals import NEW
from service.cache import _FIRST_PAUSE, _LONGEST_PAUSE, PATIENCE
from service.request_queue import PACE_MEMORY, WAITING_SHARE

FOUND, MADE, JOINED, REFUSED, EXPIRED, LEFT = range(6)
"""What becomes of a request; LEFT: still under way at the end."""
Schedule = Callable[[float, Callable[[float], None]], None]
"""Calls a function with the time when it has come."""
Settle = Callable[[int, int, float], None]
"""Request number, what became of it, and when."""


@dataclass(frozen=True)
class Costs:
    """Seconds beside the engine: what one request at a time was measured to take."""

    here: float = 0.0005
    """A face found in the process."""
    shared: float = 0.001
    """A face found in Redis."""
    made: float = 0.001
    """A face made: everything but the engine."""
    loop: float = 0.0001
    """Of the event loop, which has them one after the other: 1 / (cached faces a second)."""


@dataclass(frozen=True)
class Settings:
    """What a replica is; the defaults are the service's."""

    fixed: float
    """Seconds of every batch."""
    each: float
    """Seconds more for each picture of it."""
    tile: int = 8
    capacity: int = 256
    deadline: float = 10.0
    kept: int = 6_000
    """Faces in the process's own cache."""
    costs: Costs = Costs()

    def batch_seconds(self, pictures: int) -> float:
        """How long the engine takes for so many at once."""
        return self.fixed + self.each * pictures

    @property
    def rate(self) -> float:
        """Pictures a second when there is always a full batch."""
        return self.tile / self.batch_seconds(self.tile)


class Lru:
    """At most `size` keys; those used last stay."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._keys: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: int) -> bool:
        """Whether it is there; it counts as used then."""
        if key in self._keys:
            self._keys.move_to_end(key)
            return True
        return False

    def put(self, key: int) -> None:
        """It is there from now on."""
        if self.size:
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > self.size:
                self._keys.popitem(last=False)


@dataclass
class Shared:
    """Redis: the faces it holds, and which are being made somewhere."""

    faces: Lru
    claims: set[int] = field(default_factory=set)
    asked: int = 0
    hits: int = 0

    def get_or_claim(self, key: int) -> str:
        """`found`, `claimed`, or `taken` while another replica makes it."""
        self.asked += 1
        if self.faces.get(key):
            self.hits += 1
            return "found"
        if key in self.claims:
            return "taken"
        self.claims.add(key)
        return "claimed"


@dataclass(eq=False)
class _Entry:
    key: int
    deadline: float
    waiters: list[int]
    claimed: bool


class Replica:
    """Begins to serve when it is made; `schedule` and `settle` are the simulation's."""

    def __init__(
        self, settings: Settings, shared: Shared | None, schedule: Schedule, settle: Settle
    ) -> None:
        self.settings = settings
        self.busy_seconds = 0.0
        self.pace = settings.batch_seconds(1) / settings.tile  # the warm-up leaves that
        self._shared, self._schedule, self._settle = shared, schedule, settle
        self._here = Lru(settings.kept)
        self._queue: deque[_Entry] = deque()
        self._flights: dict[int, list[int]] = {}
        self._running: list[_Entry] = []
        self._loop_free = 0.0

    @property
    def queued(self) -> int:
        """Entries that wait for the engine."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not (self._queue or self._running or self._flights)

    def arrive(self, number: int, key: int, now: float) -> None:
        """One request; `settle` is called once, now or later, unless it is left at the end."""
        costs = self.settings.costs
        now = self._loop_free = max(now, self._loop_free) + costs.loop
        if key == NEW:
            self._submit(_Entry(NEW, now + self.settings.deadline, [number], False), now)
        elif self._here.get(key):
            self._settle(number, FOUND, now + costs.here)
        elif key in self._flights:
            self._flights[key].append(number)
        else:
            self._flights[key] = [number]
            self._look(key, now, now + PATIENCE, _FIRST_PAUSE)

    def _look(self, key: int, now: float, give_up: float, pause: float) -> None:
        """In Redis; where another replica is making it, again after a pause."""
        costs = self.settings.costs
        found = "claimed" if self._shared is None else self._shared.get_or_claim(key)
        if found == "found":
            self._here.put(key)
            fate = FOUND if pause == _FIRST_PAUSE else JOINED
            for number in self._flights.pop(key):
                self._settle(number, fate, now + costs.shared)
        elif found == "taken" and now < give_up:
            longer = min(2 * pause, _LONGEST_PAUSE)
            self._schedule(now + pause, lambda then: self._look(key, then, give_up, longer))
        else:
            claimed = found == "claimed" and self._shared is not None
            deadline = now + self.settings.deadline
            self._submit(_Entry(key, deadline, self._flights[key], claimed), now)

    def _submit(self, entry: _Entry, now: float) -> None:
        waiting = len(self._queue)
        too_late = waiting * self.pace > WAITING_SHARE * (entry.deadline - now)
        if waiting >= self.settings.capacity or too_late:
            self._end(entry, REFUSED, now + self.settings.costs.here)
            return
        self._queue.append(entry)
        if not self._running:
            self._run(now)

    def _run(self, now: float) -> None:
        while self._queue and len(self._running) < self.settings.tile:
            entry = self._queue.popleft()
            if entry.deadline > now:
                self._running.append(entry)
            else:
                self._end(entry, EXPIRED, entry.deadline)
        if self._running:
            seconds = self.settings.batch_seconds(len(self._running))
            self.busy_seconds += seconds
            self._schedule(now + seconds, lambda then: self._done(then, seconds))

    def _done(self, now: float, seconds: float) -> None:
        batch, self._running = self._running, []
        pace = seconds / max(self.settings.tile, len(batch))
        self.pace = PACE_MEMORY * self.pace + (1 - PACE_MEMORY) * pace
        for entry in batch:
            late = entry.deadline <= now
            self._end(entry, *((EXPIRED, entry.deadline) if late else (MADE, now)))
        self._run(now)

    def _end(self, entry: _Entry, fate: int, now: float) -> None:
        made = fate == MADE
        if entry.key != NEW:
            del self._flights[entry.key]
            if made:
                self._here.put(entry.key)
            if self._shared is not None:
                if made:
                    self._shared.faces.put(entry.key)
                if entry.claimed:
                    self._shared.claims.discard(entry.key)
        then = now + self.settings.costs.made if made else now
        for place, number in enumerate(entry.waiters):
            self._settle(number, JOINED if made and place else fate, then)
