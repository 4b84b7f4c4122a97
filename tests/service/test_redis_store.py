import asyncio

import pytest
from serving import eventually

from service.cache import Claim, PictureCache
from service.redis_link import RedisLink
from service.redis_store import MAX_BYTES, RedisPictures
from service.telemetry import Telemetry

PICTURE = bytes(range(256)) * 20
TTL = 1000


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
async def replica(valkey, telemetry):
    """Makes stores as different replicas have them."""
    links = []

    def replica():
        links.append(RedisLink(valkey.url, timeout=30, telemetry=telemetry))
        return RedisPictures(links[-1], telemetry, ttl=TTL)

    yield replica
    for link in links:
        await link.aclose()


async def test_what_one_stores_the_other_has(replica, valkey):
    here, there = replica(), replica()
    claim = await here.get_or_claim("k")
    assert isinstance(claim, Claim)
    assert claim.token
    assert await there.get_or_claim("k") is None
    await here.put("k", PICTURE, claim)
    assert await there.get_or_claim("k") == PICTURE
    assert valkey.inside.keys() == [b"visage:1:picture:k"]
    assert TTL - 100 < valkey.inside.ttl("visage:1:picture:k") <= TTL


async def test_an_empty_picture_is_a_picture(replica):
    store = replica()
    await store.put("k", b"", Claim())
    assert await store.get_or_claim("k") == b""


async def test_what_is_too_large_to_share_is_given_back(replica, valkey):
    here, there = replica(), replica()
    claim = await here.get_or_claim("k")
    await here.put("k", bytes(MAX_BYTES + 1), claim)
    assert valkey.inside.keys() == []
    assert isinstance(await there.get_or_claim("k"), Claim)


async def test_a_claim_is_released_by_its_owner_only(replica):
    here, there = replica(), replica()
    claim = await here.get_or_claim("k")
    await there.release("k", Claim("somebody else's"))
    await there.release("k", Claim())
    assert await there.get_or_claim("k") is None
    await here.release("k", claim)
    assert isinstance(await there.get_or_claim("k"), Claim)


async def test_storing_without_the_claim_leaves_it_to_its_owner(replica, valkey):
    here, there = replica(), replica()
    claim = await here.get_or_claim("k")
    await there.put("k", PICTURE, Claim())
    assert valkey.inside.get("visage:1:picture:k:lock") == claim.token.encode()
    assert await here.get_or_claim("k") == PICTURE


async def test_a_claim_whose_owner_is_gone_runs_out(replica, valkey):
    here, there = replica(), replica()
    await here.get_or_claim("k")
    assert 0 < valkey.inside.pttl("visage:1:picture:k:lock") <= 5000
    valkey.inside.pexpire("visage:1:picture:k:lock", 1)
    await eventually(lambda: not valkey.inside.exists("visage:1:picture:k:lock"))
    assert (await there.get_or_claim("k")).token


async def test_a_picture_that_has_expired_is_made_again(replica, valkey):
    store = replica()
    await store.put("k", PICTURE, Claim())
    valkey.inside.pexpire("visage:1:picture:k", 1)
    await eventually(lambda: not valkey.inside.exists("visage:1:picture:k"))
    assert isinstance(await store.get_or_claim("k"), Claim)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value[:-1],
        lambda value: value + b"x",
        lambda value: value[:100] + bytes([value[100] ^ 1]) + value[101:],
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: b"",
        lambda value: b"a foreign value",
    ],
    ids=["cut short", "longer", "one bit of it", "one bit of its digest", "empty", "foreign"],
)
async def test_a_damaged_picture_is_not_there_and_is_replaced(replica, valkey, telemetry, damage):
    store = replica()
    await store.put("k", PICTURE, Claim())
    valkey.inside.set("visage:1:picture:k", damage(valkey.inside.get("visage:1:picture:k")))
    assert await store.get_or_claim("k") == Claim()
    errors = telemetry.registry.get_sample_value("visage_redis_errors_total", {"op": "check"})
    assert errors == 1
    await store.put("k", PICTURE, Claim())
    assert await store.get_or_claim("k") == PICTURE


async def test_another_keys_picture_is_not_this_one(replica, valkey):
    store = replica()
    await store.put("other", PICTURE, Claim())
    valkey.inside.rename("visage:1:picture:other", "visage:1:picture:k")
    assert await store.get_or_claim("k") == Claim()


async def test_a_key_of_a_foreign_type_is_overwritten(replica, valkey):
    store = replica()
    valkey.inside.rpush("visage:1:picture:k", "a list")
    claim = await store.get_or_claim("k")
    assert claim.token
    await store.put("k", PICTURE, claim)
    assert await store.get_or_claim("k") == PICTURE


async def test_without_redis_everybody_may_make_everything(telemetry):
    link = RedisLink("redis://127.0.0.1:1", timeout=30, telemetry=telemetry)
    store = RedisPictures(link, telemetry, ttl=TTL)
    assert await store.get_or_claim("k") == Claim()
    await store.put("k", PICTURE, Claim())
    await store.release("k", Claim("token"))


async def test_two_replicas_make_each_picture_once_between_them(replica, telemetry):
    caches = [PictureCache(2**20, telemetry, shared=replica(), patience=60) for _ in range(2)]
    made = []

    async def make(key):
        made.append(key)
        await asyncio.sleep(0.02)
        return key.encode() * 100

    async def ask(cache, key):
        content, result = await cache.get_or_make(key, lambda: make(key))
        assert content == key.encode() * 100
        return result

    keys = [f"k{n}" for n in range(10)]
    results = await asyncio.gather(
        *(ask(cache, key) for _ in range(5) for cache in caches for key in keys)
    )
    assert sorted(made) == sorted(keys)
    assert results.count("miss") == len(keys)
    for cache in caches:
        await cache.aclose()
    fresh = PictureCache(2**20, telemetry, shared=replica())
    assert {await ask(fresh, key) for key in keys} == {"hit"}
    await fresh.aclose()
