"""What visitors do: they ask for this and that, leave early, and try again as they were told to."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from traffic import Answer, Connection, Tally, connected

POPULAR = 200
"""Faces that are asked for again and again."""

Visit = tuple[str, dict[str, Any]]
"""Target, and what `Connection.send` takes beside it."""


def mixed_visits(seed: int, *, faces: int = POPULAR) -> Iterator[Visit]:
    """Of everything the service has, mostly single faces; the same each time."""
    draw = random.Random(seed)
    many = json.dumps({"count": 4}).encode()
    while True:
        popular, new = draw.randrange(faces), draw.getrandbits(64)
        post = {"method": "POST", "body": many, "content_type": "application/json"}
        yield draw.choices(
            [
                (f"/v1/faces/{popular}.png", {}),
                (f"/v1/faces/{new}.webp?size=96", {}),
                (f"/v1/faces/{popular}.json", {}),
                ("/image", {}),
                ("/v1/faces", post),
                (f"/v1/morph?from={new}&to={popular}&frames=4", {}),
                ("/v1/models", {}),
            ],
            weights=(40, 20, 5, 20, 5, 5, 5),
        )[0]


@dataclass
class Leaving:
    """What came of visits of which some were broken off."""

    tally: Tally = field(default_factory=Tally)
    """Of those who stayed."""
    left: int = 0


async def come_and_go(
    url: str,
    visits: Iterator[Visit],
    *,
    clients: int,
    share: float,
    requests: int | None = None,
    seconds: float = float("inf"),
) -> Leaving:
    """Visits of which `share` end early: at any time from the sending to after the usual answer."""
    result, draw = Leaving(), random.Random(0)
    until = asyncio.get_running_loop().time() + seconds
    left = iter(range(requests)) if requests is not None else count()
    usual = 0.05

    async def client() -> None:
        nonlocal usual
        async with connected(url) as connection:
            while asyncio.get_running_loop().time() < until and next(left, None) is not None:
                target, request = next(visits)
                if draw.random() >= share:
                    await result.tally.add(connection, target, **request)
                    if result.tally.answers:
                        usual = 0.9 * usual + 0.1 * result.tally.answers[-1].seconds
                    continue
                await connection.send(target, **request)
                await asyncio.sleep(draw.uniform(0, 1.5 * usual))
                connection.close()
                result.left += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return result


@dataclass
class Visitors:
    """What came of visits to a server that is now and then replaced by another."""

    tally: Tally = field(default_factory=Tally)
    refused: int = 0
    """Connections: nobody listened."""
    unheard: list[str] = field(default_factory=list)
    """Request ids of those whose connection ended before a byte of an answer: the server's log
    must not know them."""
    turned_away: int = 0
    """503 of servers that were about to stop, or not yet ready."""

    async def visit(self, connection: Connection, visit: Visit, request_id: str) -> Answer | None:
        """Ask until there is an answer, in the ways that the service asks of clients."""
        target, request = visit
        for attempt in count():
            name = f"{request_id}.{attempt}"
            try:
                answer = await connection.ask(target, x_request_id=name, **request)
            except ConnectionRefusedError:
                connection.close()
                self.refused += 1
                await asyncio.sleep(0.1)
            except ConnectionResetError:
                connection.close()
                self.unheard.append(name)
            except asyncio.IncompleteReadError as error:
                connection.close()
                if error.partial:
                    self.tally.lost.append(f"{target}: {error!r}")
                    return None
                self.unheard.append(name)
            else:
                if answer.status == 503 and answer.says_when_to_retry:
                    self.turned_away += 1
                    await asyncio.sleep(int(answer.headers["retry-after"]))
                    continue
                self.tally.answers.append(answer)
                return answer
        raise AssertionError("count has no end")
