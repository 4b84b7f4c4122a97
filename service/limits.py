"""How many pictures each client may have in a time, counted in Redis for all replicas or here.

Knows nothing about who clients are. The counting is that of the `limits` library: a sliding
window counter, two numbers per client. When Redis is gone, each replica counts for itself until
it is back. Belongs to the event loop.

What clients are told is that of draft-ietf-httpapi-ratelimit-headers: the policy (`q` pictures
in `w` seconds) and what is left of it (`r` pictures, more in `t` seconds).
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from cachetools import TTLCache
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from service.errors import RateLimitedError, SettingsError, TooLargeError
from service.redis_link import NAMESPACE, RedisGoneError, RedisLink
from service.telemetry import Telemetry

MAX_CLIENTS = 50_000
"""Clients counted in this process; the one unseen for longest makes room for the next."""
_LONGEST_WINDOW = 31 * 86_400


def parse_rate_limit(text: str) -> RateLimitItem | None:
    """`600/minute`, `10 per 5 seconds` → the limit; empty → None; else SettingsError."""
    if not text.strip():
        return None
    try:
        limits = parse_many(text)
    except ValueError:
        limits = []
    if len(limits) != 1 or limits[0].amount < 1 or limits[0].get_expiry() > _LONGEST_WINDOW:
        raise SettingsError(
            f"VISAGE_RATE_LIMIT is {text!r}, which is not usable: write one limit of at least one "
            "picture in at most 31 days, e.g. 600/minute or 10 per 5 seconds (see "
            "docs/settings.md)"
        )
    return limits[0]


@dataclass(frozen=True)
class Window:
    """What a client has had: its current window, and the one before, which counts ever less."""

    previous: int
    previous_seconds: float
    """Until the window before counts nothing any more."""
    current: int
    current_seconds: float
    """Until the current one counts nothing any more: its own end and one window further."""

    def used(self, period: float) -> int:
        """Pictures that count now."""
        return math.floor(self.previous * self.previous_seconds / period) + self.current

    def seconds_until(self, used: int, period: float) -> int:
        """Whole seconds after which at most `used` pictures count, if none is added; `used` ≥ 0.

        0 where that is so now.
        """
        if self.used(period) <= used:
            return 0
        if self.current <= used:  # within this window, as the one before fades
            excess = (used - self.current + 1) / self.previous
            seconds = self.previous_seconds - period * excess
        else:  # as this one fades, once it is the one before
            seconds = self.current_seconds - period * (used + 1) / self.current
        return math.floor(seconds) + 1


class RateLimiter:
    """`limit` as `parse_rate_limit` reads it; where it is empty, everything is let through."""

    def __init__(
        self,
        limit: str,
        telemetry: Telemetry,
        *,
        link: RedisLink | None = None,
        max_clients: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._item = parse_rate_limit(limit)
        self._telemetry = telemetry
        self._link = link
        period = self._item.get_expiry() if self._item else 0
        self._local = SlidingWindowCounterRateLimiter(_Windows(max_clients, period, clock))
        if link is not None:
            self._shared = SlidingWindowCounterRateLimiter(
                RedisStorage(
                    "redis://",  # the pool knows the address
                    implementation="redispy",
                    key_prefix=f"{NAMESPACE}:limit",
                    connection_pool=link.pool,  # type: ignore[arg-type]  # options are passed on
                )
            )

    async def check(self, client: str, cost: int) -> Mapping[str, str]:
        """Count `cost` pictures for `client`; the headers that say what is left.

        RateLimitedError, with these headers and Retry-After, where that is too much now, and
        TooLargeError where it would be too much at any time; then nothing is counted.
        """
        if self._item is None:
            return {}
        if cost > self._item.amount:
            raise TooLargeError(
                f"{cost} pictures are more than the {_spoken(self._item)} that a client may have."
            )
        granted, window = await self._spend(self._item, client, cost)
        headers = _headers(self._item, window)
        if granted:
            return headers
        self._telemetry.requests_rejected.labels(reason="rate_limit").inc()
        seconds = window.seconds_until(self._item.amount - cost, self._item.get_expiry())
        seconds = max(1, seconds)  # 0: Redis let time pass between counting and looking
        raise RateLimitedError(
            f"This client has used up its {_spoken(self._item)}; try again in {seconds} s.",
            retry_after=seconds,
            headers=headers,
        )

    def has_left_here(self, client: str) -> bool:
        """Whether `check_here` would grant a picture now."""
        if self._item is None:
            return True
        windows = cast(_Windows, self._local.storage)
        period = self._item.get_expiry()
        used = windows.window(self._item.key_for(client), period).used(period)
        return used < self._item.amount

    def check_here(self, client: str, cost: int) -> Mapping[str, str]:
        """`check` without waiting; only where nothing is counted in Redis."""
        try:
            self.check(client, cost).send(None)
        except StopIteration as done:
            return cast(Mapping[str, str], done.value)
        raise RuntimeError("quotas in Redis cannot be counted at once")

    async def _spend(self, item: RateLimitItem, client: str, cost: int) -> tuple[bool, Window]:
        if self._link is not None:
            try:
                return await self._link.call(
                    "limit", lambda: _hit(self._shared, item, client, cost)
                )
            except RedisGoneError:
                pass  # counted; until it is back, every replica counts for itself
        return await _hit(self._local, item, client, cost)


class _Windows(MemoryStorage):
    """Counts in this process: bounded, and no hit looks at other clients.

    The storage that comes with the library goes through all of them at every hit.
    """

    def __init__(self, max_clients: int, period: int, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # Two windows after its last picture a client's counts are nothing.
        self._counts: TTLCache[str, tuple[int, int, int]] = TTLCache(
            max_clients, ttl=2 * period, timer=clock
        )

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        window = self.window(key, expiry)
        if window.used(expiry) + amount > limit:
            return False
        number = int(self._clock() // expiry)
        self._counts[key] = (number, window.previous, window.current + amount)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window = self.window(key, expiry)
        return (
            window.previous,
            window.previous_seconds,
            window.current,
            window.current_seconds,
        )

    def window(self, key: str, expiry: int) -> Window:
        """What is counted for `key` now."""
        now = self._clock()
        number = int(now // expiry)
        last, previous, current = self._counts.get(key, (number, 0, 0))
        if last != number:
            previous, current = (current if last == number - 1 else 0), 0
        left = (number + 1) * expiry - now
        return Window(previous, left, current, left + expiry)


async def _hit(
    counter: SlidingWindowCounterRateLimiter, item: RateLimitItem, client: str, cost: int
) -> tuple[bool, Window]:
    granted = await counter.hit(item, client, cost=cost)
    storage = cast(SlidingWindowCounterSupport, counter.storage)
    window = await storage.get_sliding_window(item.key_for(client), item.get_expiry())
    return granted, Window(*window)


def _headers(item: RateLimitItem, window: Window) -> dict[str, str]:
    period = item.get_expiry()
    used = window.used(period)
    more = window.seconds_until(max(used, 1) - 1, period)
    return {
        "RateLimit-Policy": f'"pictures";q={item.amount};w={period}',
        "RateLimit": f'"pictures";r={max(0, item.amount - used)};t={more}',
    }


def _spoken(item: RateLimitItem) -> str:
    many = f"{item.multiples} {item.GRANULARITY.name}s"
    return f"{item.amount} pictures per {item.GRANULARITY.name if item.multiples == 1 else many}"
