"""Settings that the app only hands on: each does there what docs/settings.md says of it."""

import asyncio

from fakes import FakeEngine
from serving import eventually, sample_of, serve


async def test_a_picture_stays_in_redis_for_as_long_as_is_set(valkey):
    async with serve(redis_url=valkey.url, redis_timeout=5, redis_ttl=100) as client:
        made = await client.get("/v1/faces/7.png")
        stored = f"visage:1:picture:{made.headers['ETag'].strip(chr(34))}"
        await eventually(lambda: valkey.inside.exists(stored) == 1)  # after it was answered
        assert 0 < valkey.inside.ttl(stored) <= 100


async def test_no_more_label_sets_have_a_reservoir_than_are_set():
    async with serve(reservoir=4, reservoir_label_sets=1) as client:
        sample = sample_of(client)

        async def full() -> None:
            await eventually(lambda: sample("visage_reservoir_faces", model="fake-16") == 4)

        async def asked(path: str) -> tuple[float, float]:
            """How many hits and misses there are after it."""
            assert (await client.get(path)).status_code == 200
            results = ("hit", "miss")
            return tuple(sample("visage_reservoir_requests_total", result=r) for r in results)

        await full()
        assert await asked("/image") == (1, 0)
        assert await asked("/image?gender=female") == (1, 1)
        assert await asked("/image?gender=female") == (1, 2)
        await full()
        assert await asked("/image?gender=female") == (2, 2)
        assert await asked("/image") == (2, 3)  # which has given way


async def test_a_batch_that_is_not_full_waits_for_company():
    engine = FakeEngine(tile=2)
    async with serve(lambda: engine, batch_wait=1) as client:  # ended by company, not by the clock
        first = asyncio.create_task(client.get("/v1/faces/1.png"))
        depth = sample_of(client)
        await eventually(lambda: depth("visage_queue_depth", model="fake-16") == 1)
        await client.get("/v1/faces/2.png")
        await first
        assert engine.batches == [2]
