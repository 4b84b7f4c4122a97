"""Stub replicas of the whole service in a real Ray cluster: killed, added and replaced under load."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
from traffic import Tally, closed_loop, connected

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'visage[ray]'")

from running_ray import RunningRay, running_ray

CAPACITY = 8
"""Requests that wait in a replica; with the one in its engine, what it has accepted at once."""
SLOW = {"checkpoints": "slow-100", "tile": 1, "queue_capacity": CAPACITY, "deadline": 60}


@pytest.fixture(scope="module")
def ray() -> Iterator[RunningRay]:
    """Starting a cluster takes half of these tests' time, so they share one."""
    with running_ray() as cluster:
        yield cluster


def faces(name: str) -> Iterator[str]:
    return (f"/v1/faces/{name}-{number}.png" for number in count())


async def accepted_at_once(ray: RunningRay, *, offered: int) -> int:
    """Of so many requests that come while no engine finishes one; the others are refused."""
    tally = Tally()
    targets = faces(f"burst-{time.monotonic()}")

    async def ask() -> None:
        async with connected(ray.url) as connection:
            await tally.add(connection, next(targets))

    async with asyncio.TaskGroup() as group:
        with ray.held():
            for _ in range(offered):
                group.create_task(ask())
            while len(tally.answers) < offered - 3 * CAPACITY:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(20):
                seen = -1
                while len(tally.answers) != seen:  # nobody is refused any more
                    seen = len(tally.answers)
                    await asyncio.sleep(0.5)
            refused = len(tally.answers)
    assert tally.lost == []
    assert set(tally.statuses) == {200, 503}
    assert tally.statuses[503] == refused
    return offered - refused


async def test_two_replicas_accept_twice_as_many_at_once_as_one(ray):
    ray.deploy(replicas=1, **SLOW)
    one = await accepted_at_once(ray, offered=40)
    ray.deploy(replicas=2, **SLOW)
    two = await accepted_at_once(ray, offered=40)
    assert one == CAPACITY + 1
    assert two >= 1.8 * one


async def test_a_killed_replica_loses_no_request(ray):
    ray.deploy(replicas=2, **SLOW)
    tally = Tally()
    killed = ray.replicas()[0]
    async with asyncio.TaskGroup() as group:
        group.create_task(
            closed_loop(ray.url, faces("killed"), clients=8, requests=60, tally=tally)
        )
        while len(tally.answers) < 15:
            await asyncio.sleep(0.01)
        ray.kill_a_replica()
        answered = len(tally.answers)
    assert killed not in ray.replicas()
    assert tally.lost == []
    assert tally.statuses == {200: 60}, "what the dead replica had is made by the other one"
    assert answered < 60


async def test_a_new_checkpoint_replaces_the_old_one_under_load(ray):
    ray.deploy(replicas=1, **SLOW)
    tally = Tally()
    old = ray.replicas()
    ray.ask(replicas=1, **SLOW | {"checkpoints": "new-50"})
    replaced = asyncio.create_task(asyncio.to_thread(ray.wait))
    targets = faces("rolled")
    while not replaced.done():
        await closed_loop(ray.url, targets, clients=4, requests=8, tally=tally)
    await closed_loop(ray.url, targets, clients=4, requests=8, tally=tally)
    await replaced
    assert not set(old) & set(ray.replicas())
    assert tally.lost == []
    assert set(tally.statuses) == {200}
    models = [answer.headers["x-model"].partition("@")[0] for answer in tally.answers]
    assert Counter(models).keys() == {"slow-100", "new-50"}
    assert models[-1] == "new-50"
