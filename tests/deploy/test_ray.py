"""Stub replicas of the whole service in a real Ray cluster: added, killed, replaced under load."""

from collections.abc import Iterator

import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install '.[ray]'")

from ray_drills import CAPACITY, ONE_BY_ONE, accepted_at_once, kill_one, models, replace_all
from running_ray import RunningRay, running_ray
from serving import eventually

SLOW = ONE_BY_ONE | {"checkpoints": "slow-100"}


@pytest.fixture(scope="module")
def ray() -> Iterator[RunningRay]:
    """Starting a cluster takes half of these tests' time, so they share one."""
    with running_ray() as cluster:
        yield cluster


async def test_a_new_checkpoint_takes_over_under_load(ray):
    ray.deploy(replicas=1, **SLOW)
    old = ray.replicas()
    tally = await replace_all(ray, clients=4, replicas=1, **SLOW | {"checkpoints": "new-50"})
    await eventually(lambda: not set(old) & set(ray.replicas()))
    assert tally.lost == []
    assert set(tally.statuses) == {200}
    assert set(models(tally)) == {"slow-100", "new-50"}
    assert set(models(tally)[-8:]) == {"new-50"}


async def test_two_replicas_accept_twice_as_many_at_once_as_one(ray):
    counts = []
    for replicas in (1, 2):
        ray.deploy(replicas=replicas, **SLOW)
        accepted, tally = await accepted_at_once(ray, offered=40)
        assert tally.lost == []
        assert tally.statuses == {200: accepted, 503: 40 - accepted}
        assert all(answer.says_when_to_retry for answer in tally.answers if answer.status == 503)
        counts.append(accepted)
    one, two = counts
    assert one == CAPACITY + 1
    assert two >= 1.8 * one


async def test_a_killed_replica_loses_no_request(ray):
    ray.deploy(replicas=2, **SLOW)
    killed = ray.replicas()[0]
    tally = await kill_one(ray, clients=8, requests=40, after=12)
    await eventually(lambda: killed not in ray.replicas())
    assert tally.lost == []
    assert tally.statuses == {200: 40}, "what it had, begun or not, is made by the other one"
