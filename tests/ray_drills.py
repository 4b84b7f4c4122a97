"""What is done to replicas in a Ray cluster while requests come, and what becomes of those.

Knows nothing about what is good enough: who calls judges.
"""

import asyncio
from collections.abc import Iterator
from itertools import count

from running_ray import RunningRay
from serving import eventually
from traffic import Tally, closed_loop, connected

CAPACITY = 8
"""Requests that wait in a replica; with the one in its engine, what it has accepted at once."""
ONE_BY_ONE = {"tile": 1, "queue_capacity": CAPACITY, "deadline": 60}
"""Settings with which that is easily counted."""
_runs = count()


def faces(name: str) -> Iterator[str]:
    """Addresses of pictures that nobody has asked for yet."""
    return (f"/v1/faces/{name}-{run}-{number}.png" for run in [next(_runs)] for number in count())


async def accepted_at_once(ray: RunningRay, *, offered: int) -> tuple[int, Tally]:
    """Of so many requests that come while no engine finishes one; the others are refused at once.

    Waits until nobody has been refused for half a second, then lets the engines go on.
    """
    tally, targets, refused = Tally(), faces("burst"), -1

    async def ask() -> None:
        async with connected(ray.url) as connection:
            await tally.add(connection, next(targets))

    async with asyncio.TaskGroup() as group:
        with ray.held():
            for _ in range(offered):
                group.create_task(ask())
            while refused != len(tally.answers):
                refused = len(tally.answers)
                await asyncio.sleep(0.5)
    return offered - refused, tally


async def kill_one(ray: RunningRay, *, clients: int, requests: int, after: int) -> Tally:
    """Once so many are `after`, the oldest replica's process is killed."""
    tally = Tally()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            closed_loop(ray.url, faces("kill"), clients=clients, requests=requests, tally=tally)
        )
        await eventually(lambda: len(tally.answers) >= after)
        ray.kill_a_replica()
    return tally


async def replace_all(ray: RunningRay, *, clients: int, **options: object) -> Tally:
    """Another deployment takes over; asked until a little after that."""
    tally, targets = Tally(), faces("replace")
    ray.ask(**options)
    replaced = asyncio.create_task(asyncio.to_thread(ray.wait))
    while not replaced.done():
        await closed_loop(ray.url, targets, clients=clients, requests=2 * clients, tally=tally)
    await replaced
    return await closed_loop(ray.url, targets, clients=clients, requests=2 * clients, tally=tally)


def models(tally: Tally) -> list[str]:
    """Who has answered, in order, by name."""
    return [answer.headers["x-model"].partition("@")[0] for answer in tally.served]
