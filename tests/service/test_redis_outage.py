"""Redis dies, hangs and comes back while pictures are asked for: nobody notices but telemetry."""

import asyncio
from itertools import count

import pytest
from serving import eventually

from service.cache import PictureCache
from service.limits import RateLimiter
from service.redis_link import RedisLink
from service.redis_store import RedisPictures
from service.telemetry import Telemetry

KEYS = 20


class Replica:
    """A cache without memory of its own, so that every hit is one of Redis; and its callers."""

    def __init__(self, url, timeout):
        self.telemetry = Telemetry()
        self.link = RedisLink(url, timeout=timeout, telemetry=self.telemetry)
        store = RedisPictures(self.link, self.telemetry, ttl=1000)
        self.cache = PictureCache(0, self.telemetry, shared=store, patience=0.2)
        self.limiter = RateLimiter("1000000/minute", self.telemetry, link=self.link)
        self.results = []
        self.stopping = False

    async def ask_on(self, first):
        for n in count(first):
            if self.stopping:
                return
            key = f"k{n % KEYS}"
            await self.limiter.check("client", 1)
            content, result = await self.cache.get_or_make(key, lambda key=key: make(key))
            assert content == key.encode() * 500
            self.results.append(result)
            await asyncio.sleep(0.001)

    async def hits_again(self):
        await self.goes_on()
        await eventually(lambda: self.results[-2 * KEYS :].count("hit") > KEYS)

    async def goes_on(self):
        enough = len(self.results) + 4 * KEYS
        await eventually(lambda: len(self.results) >= enough)

    def errors(self):
        samples = [m for m in self.telemetry.registry.collect() if m.name == "visage_redis_errors"]
        return sum(sample.value for sample in samples[0].samples)


async def make(key):
    await asyncio.sleep(0.002)
    return key.encode() * 500


@pytest.fixture
async def replicas(valkey):
    """Two of them, each with a stream of requests that ends with the test, without a failure."""
    replicas = [Replica(valkey.url, timeout=0.25) for _ in range(2)]
    async with asyncio.TaskGroup() as stream:
        for replica in replicas:
            for first in range(4):
                stream.create_task(replica.ask_on(5 * first))
        yield replicas
        for replica in replicas:
            replica.stopping = True
    for replica in replicas:
        await replica.cache.aclose()
        await replica.link.aclose()


async def test_killed_and_started_again(valkey, replicas):
    for replica in replicas:
        await replica.hits_again()
    for outage in (1, 2):
        valkey.kill()
        for replica in replicas:
            await replica.goes_on()
        assert all(replica.errors() >= outage for replica in replicas)
        valkey.start()
        for replica in replicas:
            await replica.hits_again()


async def test_replicas_go_on_while_it_is_frozen_and_share_once_it_thaws(valkey, replicas):
    for replica in replicas:
        await replica.hits_again()
    with valkey.frozen():
        for replica in replicas:
            await replica.goes_on()
        assert all(replica.errors() for replica in replicas)
        assert all("miss" in replica.results[-KEYS:] for replica in replicas)
    for replica in replicas:
        await replica.hits_again()
