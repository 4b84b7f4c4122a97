"""The connection to Redis: every call bounded in time, and none made while Redis is gone.

Knows nothing about pictures or quotas. Whoever calls must be able to do without: all that can
go wrong is one `RedisGoneError`. The log says once when Redis goes and once when it is back;
every call that failed is counted.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from service.breaker import Attempt, Breaker
from service.errors import SettingsError
from service.telemetry import Telemetry

NAMESPACE = "visage:1"
"""Before every key; the number changes when what is stored under them does."""
_CONNECTIONS = 8
"""Calls under way at once: enough to keep the event loop busy, and quickly connected."""
_TURN = 4
"""Timeouts that a call may wait for its turn; more, and Redis is too slow for what is asked."""

_SAY_AGAIN = 60.0
"""Seconds after which the log says again that Redis stores nothing."""
_REMEDIES = {
    "OOM": "set maxmemory-policy allkeys-lru",
    "READONLY": "give VISAGE_REDIS_URL the address of the primary",
    "MISCONF": "see why Redis cannot save: its disk may be full",
    "NOREPLICAS": "see where its replicas are, or set min-replicas-to-write 0",
}
"""What to do about a Redis that reads and does not write, by how its refusal begins."""

T = TypeVar("T")
log = structlog.get_logger("service.redis")


class RedisGoneError(Exception):
    """Redis failed, took too long, or did so just before and is left alone. Never seen by users."""


class RedisLink:
    """One Redis, by address (`redis://`, `rediss://` or `unix://`). Connects when first called.

    `timeout`: seconds a call may take, connecting included. SettingsError where the address is
    none. No message holds any part of it: there may be a password in it.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._telemetry = telemetry
        self._clock = clock
        self._breaker = Breaker(clock=clock)
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._gone_since = 0.0
        self._refusal_told = -math.inf
        try:
            self.pool: ConnectionPool = ConnectionPool.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),  # the breaker decides when to try again
                protocol=2,  # all that is needed here, and no greeting to wait for
            )
            # Only the connection knows which options there are.
            self.pool.make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, ValueError):
            raise SettingsError(
                "VISAGE_REDIS_URL is not the address of a Redis: write "
                "redis://user:password@host:6379/0, rediss://… for TLS, or unix:///path "
                "(see docs/settings.md)"
            ) from None
        self.client: Redis = Redis(connection_pool=self.pool)

    async def call(self, op: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns, or RedisGoneError; `op` names it in telemetry.

        Waits up to four times `timeout` for its turn, where many call at once, and then up to
        `timeout` for `work`.
        """
        try:
            async with asyncio.timeout(_TURN * self._timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            self._failed(self._breaker.enter(), op, error)
            raise RedisGoneError(f"{op}: no turn in time") from None
        try:
            attempt = self._breaker.enter()
            if attempt is None:
                raise RedisGoneError(f"{op}: left alone for now")
            return await self._try(attempt, op, work)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Close every connection. A Redis that hangs is not waited for."""
        with suppress(Exception):
            async with asyncio.timeout(1):
                await self.pool.aclose()

    async def _try(self, attempt: Attempt, op: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                if attempt.is_probe:  # what waits in the pool may be as dead as the last one
                    await self.pool.disconnect(inuse_connections=False)
                answer = await work()
        except Exception as error:
            if (refusal := _refusal_to_write(error)) is None:
                self._failed(attempt, op, error)
                raise RedisGoneError(f"{op}: failed") from None
            # It is there and gives what it has: leaving it alone would lose that too.
            self._answered(attempt)
            self._refused(op, refusal)
            raise RedisGoneError(f"{op}: not stored") from None
        except BaseException:
            self._breaker.left(attempt)
            raise
        self._answered(attempt)
        return answer

    def _answered(self, attempt: Attempt) -> None:
        if self._breaker.succeeded(attempt):
            log.info("redis is back", seconds=round(self._clock() - self._gone_since, 2))

    def _refused(self, op: str, refusal: str) -> None:
        self._telemetry.redis_errors.labels(op=op).inc()
        if self._clock() - self._refusal_told >= _SAY_AGAIN:
            self._refusal_told = self._clock()
            remedy = _REMEDIES[refusal]
            log.warning("redis stores nothing", op=op, reason=refusal, remedy=remedy)

    def _failed(self, attempt: Attempt | None, op: str, error: Exception) -> None:
        self._telemetry.redis_errors.labels(op=op).inc()
        if attempt is not None and self._breaker.failed(attempt):
            self._gone_since = self._clock()
            log.warning("redis is gone", op=op, reason=self._reason(error))

    def _reason(self, error: Exception) -> str:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        password = self.pool.connection_kwargs.get("password")
        return reason.replace(password, "…") if password else reason


def _refusal_to_write(error: Exception) -> str | None:
    """What a Redis that reads and does not write calls the reason; None: it is another error."""
    if isinstance(error, OutOfMemoryError):
        return "OOM"
    if isinstance(error, ReadOnlyError):
        return "READONLY"
    if isinstance(error, ResponseError):  # in Redis 6 a script's failures are all of one kind
        return next((word for word in _REMEDIES if word in str(error)), None)
    return None
