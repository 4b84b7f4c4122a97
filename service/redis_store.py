"""Pictures in Redis, for all replicas: one script to find or claim, one to store and release.

Knows nothing about how pictures are made, nor about connections. Keeps the promise of
`SharedPictures`: a Redis that is gone is empty, never an error. Every value carries its digest,
so that what was damaged, or put there by somebody else, is not there rather than a broken
picture.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import structlog

from service.cache import Claim
from service.redis_link import NAMESPACE, RedisGoneError, RedisLink
from service.telemetry import Telemetry

CLAIM_MILLISECONDS = 5000
"""After which a claim counts as given up: whoever had it is gone."""
_DIGEST_BYTES = 16
MAX_BYTES = 2**22
"""The largest face is half of that; a long animation would hold up everybody's connection."""

# One script, so that no other replica stores between looking and claiming. pcall: a key of a
# foreign type is no picture either, and is overwritten.
_GET_OR_CLAIM = """
local found = redis.pcall('get', KEYS[1])
if type(found) == 'string' then return found end
if redis.call('set', KEYS[2], ARGV[1], 'nx', 'px', ARGV[2]) then return 1 end
return 0
"""
_RELEASE = """
if redis.call('get', KEYS[2]) == ARGV[1] then redis.call('del', KEYS[2]) end
"""
_PUT = "redis.call('set', KEYS[1], ARGV[2], 'ex', ARGV[3])" + _RELEASE

log = structlog.get_logger("service.redis")


class RedisPictures:
    """Pictures stay `ttl` seconds after they were stored."""

    def __init__(self, link: RedisLink, telemetry: Telemetry, *, ttl: int) -> None:
        self._link = link
        self._telemetry = telemetry
        self._ttl = ttl
        self._get_or_claim = link.client.register_script(_GET_OR_CLAIM)
        self._put = link.client.register_script(_PUT)
        self._release = link.client.register_script(_RELEASE)

    async def get_or_claim(self, key: str) -> bytes | Claim | None:
        """The picture; or the claim to make it; or None while another replica has that claim."""
        token = secrets.token_hex(8)
        try:
            answer: Any = await self._link.call(
                "get", lambda: self._get_or_claim(_keys(key), [token, CLAIM_MILLISECONDS])
            )
        except RedisGoneError:
            return Claim()
        if isinstance(answer, int):
            return Claim(token) if answer else None
        content = _opened(key, answer)
        if content is None:
            self._telemetry.redis_errors.labels(op="check").inc()
            log.warning("a picture in redis is damaged and will be replaced", key=_keys(key)[0])
            return Claim()
        return content

    async def put(self, key: str, content: bytes, claim: Claim) -> None:
        """Store the picture and give back the claim; one over `MAX_BYTES` is not stored."""
        if len(content) > MAX_BYTES:
            await self.release(key, claim)
            return
        sealed = _sealed(key, content)
        await self._call_or_leave(
            "put", lambda: self._put(_keys(key), [claim.token, sealed, self._ttl])
        )

    async def release(self, key: str, claim: Claim) -> None:
        """Give back the claim without a picture."""
        if claim.token:
            await self._call_or_leave("release", lambda: self._release(_keys(key), [claim.token]))

    async def _call_or_leave(self, op: str, work: Callable[[], Awaitable[Any]]) -> None:
        with suppress(RedisGoneError):  # counted; a claim that stays behind runs out by itself
            await self._link.call(op, work)


def _keys(key: str) -> list[str]:
    return [f"{NAMESPACE}:picture:{key}", f"{NAMESPACE}:picture:{key}:lock"]


def _sealed(key: str, content: bytes) -> bytes:
    return _digest(key, content) + content


def _opened(key: str, value: object) -> bytes | None:
    """What was sealed under `key`, or None: damaged, cut short, or another key's."""
    if not isinstance(value, bytes):
        return None
    digest, content = value[:_DIGEST_BYTES], value[_DIGEST_BYTES:]
    return content if digest == _digest(key, content) else None


def _digest(key: str, content: bytes) -> bytes:
    digest = blake2b(key.encode() + b"\0", digest_size=_DIGEST_BYTES)
    digest.update(content)
    return digest.digest()
