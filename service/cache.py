"""Pictures that were made before, and one making of each that is asked for by many at once.

Knows nothing about faces, HTTP or Redis: what it needs of a store that replicas share is the
`SharedPictures` protocol here. Pictures are found in this process first, then in that store,
else made. Belongs to the event loop: nothing here is for other threads. A key names exact bytes,
so nothing here is ever stale.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cachetools import LRUCache

from service.errors import DrainingError
from service.telemetry import Telemetry

CacheResult = Literal["hit", "miss", "coalesced"]
"""Found; made for this request; made for another request, here or on another replica."""

PATIENCE = 1.0
"""Seconds to wait for a picture that another replica is making, before making it here too."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
_OVERHEAD = 512
"""Bytes that a key and its places in the cache's dictionaries take beside the picture."""


@dataclass(frozen=True)
class Claim:
    """The right to make a picture that is nowhere yet. An empty token: nobody else knows of it."""

    token: str = ""


class SharedPictures(Protocol):
    """A store that replicas share. It never raises and answers soon: one that is gone is empty."""

    async def get_or_claim(self, key: str) -> bytes | Claim | None:
        """The picture; or the claim to make it; or None while another replica has that claim."""

    async def put(self, key: str, content: bytes, claim: Claim) -> None:
        """Store the picture and give back the claim."""

    async def release(self, key: str, claim: Claim) -> None:
        """Give back the claim without a picture, so that another replica can have it."""


@dataclass(eq=False)
class _Flight:
    """One picture on its way, and the callers that wait for it."""

    waiters: set[asyncio.Future[None]] = field(default_factory=set)
    landed: bool = False
    content: bytes = b""
    result: CacheResult = "miss"
    error: Exception | None = None
    task: asyncio.Task[None] | None = None


class PictureCache:
    """At most `max_bytes` of pictures in this process (0: none), and `shared` ones behind them."""

    def __init__(
        self,
        max_bytes: int,
        telemetry: Telemetry,
        *,
        shared: SharedPictures | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=_footprint)
        self._telemetry = telemetry
        self._results = functools.cache(telemetry.cache_requests.labels)
        self._shared = shared
        self._patience = patience
        self._flights: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, key: str) -> bytes | None:
        """The picture named `key` where this process has it; counted as a hit then."""
        content = self._pictures.get(key)
        if content is not None:
            self._results("hit").inc()
        return content

    def must_make(self, key: str) -> bool:
        """Whether the picture has to be made: nobody here or elsewhere has it, or is making it."""
        return self._shared is None and key not in self._flights and key not in self._pictures

    async def get_or_make(
        self, key: str, make: Callable[[], Awaitable[bytes]]
    ) -> tuple[bytes, CacheResult]:
        """The picture named `key`, by `make` where it is not to be found.

        `make` runs in a task of its own, once for all who ask meanwhile: a caller that is
        cancelled leaves without disturbing the others, and the last one to leave takes the work
        with it. What `make` raises reaches every caller, and is not remembered.
        """
        content = self.get(key)
        if content is not None:
            return content, "hit"
        flight = self._flights.get(key)
        leads = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = self._spawn(self._fly(key, flight, make))
        waiter = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            await waiter
        finally:
            flight.waiters.discard(waiter)
            if not flight.waiters and not flight.landed:
                self._abandon(key, flight)
        if flight.error is not None:
            self._results("error").inc()
            raise _again(flight.error)
        return flight.content, self._counted(flight.result if leads else "coalesced")

    async def aclose(self) -> None:
        """Stop what is being made, and finish what is being stored."""
        for key, flight in list(self._flights.items()):
            self._abandon(key, flight)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _fly(self, key: str, flight: _Flight, make: Callable[[], Awaitable[bytes]]) -> None:
        try:
            flight.content, flight.result = await self._obtain(key, make)
            if _footprint(flight.content) <= self._pictures.maxsize:
                self._pictures[key] = flight.content
        except Exception as error:
            flight.error = error
        except BaseException:
            # Cancelled, and whoever still waits did not leave: then it is the server that stops.
            flight.error = DrainingError()
            raise
        finally:
            self._forget(key, flight)
            flight.landed = True
            for waiter in flight.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _obtain(
        self, key: str, make: Callable[[], Awaitable[bytes]]
    ) -> tuple[bytes, CacheResult]:
        if self._shared is None:
            return await make(), "miss"
        found, waited = await self._find_or_claim(self._shared, key)
        if not isinstance(found, Claim):
            return found, "coalesced" if waited else "hit"
        # Storing and releasing are no caller's business: nobody waits for them.
        try:
            content = await make()
        except BaseException:
            self._spawn(self._shared.release(key, found))
            raise
        self._spawn(self._shared.put(key, content, found))
        return content, "miss"

    async def _find_or_claim(self, shared: SharedPictures, key: str) -> tuple[bytes | Claim, bool]:
        """The picture or the claim to make it, and whether another replica was waited for."""
        give_up = time.monotonic() + self._patience
        pause, waited = _FIRST_PAUSE, False
        while (found := await shared.get_or_claim(key)) is None:
            if time.monotonic() >= give_up:
                self._telemetry.claims_given_up.inc()
                return Claim(), waited
            waited = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return found, waited

    def _abandon(self, key: str, flight: _Flight) -> None:
        self._forget(key, flight)
        if flight.task is not None:
            flight.task.cancel()

    def _forget(self, key: str, flight: _Flight) -> None:
        """From now on who asks for `key` starts anew; its place may be another flight's already."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _counted(self, result: CacheResult) -> CacheResult:
        self._results(result).inc()
        return result


def _footprint(content: bytes) -> int:
    return len(content) + _OVERHEAD


def _again(error: Exception) -> Exception:
    """The same error for one more caller: an exception raised twice keeps both callers' frames."""
    fresh = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh.with_traceback(error.__traceback__)
