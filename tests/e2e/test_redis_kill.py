"""Redis is killed and started again under a real server under load: only telemetry notices."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from running_server import server_factory
from running_valkey import RunningValkey
from tiny_checkpoints import write_tiny
from traffic import Tally, closed_loop
from watching import Telemetry

pytestmark = pytest.mark.e2e

FACES = 20
ENOUGH = 5 * FACES
"""Answers after which a server has had the time to notice what has changed."""


@pytest.fixture
def valkey() -> Iterator[RunningValkey]:
    valkey = RunningValkey()
    yield valkey
    valkey.kill()


@pytest.fixture
def server(tmp_path, valkey):
    """Without a memory of its own, so that every hit is one of Redis. An outage must cost nothing
    however patient the server is: one that waited this long would end the test by its timeout."""
    with server_factory(tmp_path, write_tiny(tmp_path / "tiny-16")) as start:
        yield start(
            tile=2, cache_bytes=0, redis_url=valkey.url, redis_timeout=5, rate_limit="1000000/hour"
        ).wait_ready()


class Load:
    """Clients who ask for the same few faces again and again, until told to stop."""

    def __init__(self, url: str) -> None:
        self.tally = Tally()
        self.stopping = False
        self._url = url

    def targets(self) -> Iterator[str]:
        for n in count():
            if self.stopping:
                return
            yield f"/v1/faces/{n % FACES}.png"

    async def run(self) -> None:
        await closed_loop(self._url, self.targets(), clients=4, tally=self.tally)

    async def goes_on(self) -> list[str]:
        """How the cache fared in the next answers."""
        first = len(self.tally.answers)
        while len(self.tally.answers) < first + ENOUGH:
            assert not self.tally.lost
            await asyncio.sleep(0.01)
        return [answer.headers.get("x-cache", "none") for answer in self.tally.answers[first:]]

    async def hits_again(self) -> None:
        """Return once most answers are hits."""
        while (await self.goes_on()).count("hit") < ENOUGH * 0.8:
            pass


async def test_killed_and_started_again_under_load(server, valkey):
    load = Load(server.url)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await load.hits_again()
        for outage in (1, 2):
            before = await Telemetry.of(server.url)
            valkey.kill()
            assert (await load.goes_on() + await load.goes_on()).count("miss") >= ENOUGH
            after = await Telemetry.of(server.url)
            # Noticed, and then left alone: far fewer calls failed than requests came.
            errors = after("redis_errors_total") - before("redis_errors_total")
            assert 1 <= errors <= ENOUGH, outage
            valkey.start()
            await load.hits_again()
        load.stopping = True
    assert load.tally.lost == []
    assert set(load.tally.statuses) == {200}
    assert len({answer.body for answer in load.tally.answers}) == FACES
    events = [line["event"] for line in server.events() if line["event"].startswith("redis")]
    assert events == ["redis is gone", "redis is back"] * 2
