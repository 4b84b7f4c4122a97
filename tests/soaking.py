"""Thousands of mixed visits while models are reloaded and the server is stopped and replaced."""

import asyncio
import signal
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from running_server import RunningServer
from traffic import connected
from visits import Visitors, mixed_visits
from watching import Footprint

ADMIN_TOKEN = "operator"

Event = Literal["reload", "drain"]


@dataclass
class Soak:
    """What came of it. `servers`: all that there were; only the last one still runs."""

    visitors: Visitors = field(default_factory=Visitors)
    servers: list[RunningServer] = field(default_factory=list)
    exits: list[tuple[int, str]] = field(default_factory=list)
    """Exit code and stderr of each that was stopped."""
    reloads: list[int] = field(default_factory=list)
    """The status of each."""
    resident: list[list[int]] = field(default_factory=list)
    """Bytes of each server, sampled each time another hundredth of all was answered."""

    @property
    def answered(self) -> int:
        return len(self.visitors.tally.answers) + len(self.visitors.tally.lost)

    @property
    def heard(self) -> dict[str, int]:
        """Every request that a server has read, by its id, and what became of it."""
        lines = [line for server in self.servers for line in server.events()]
        return {line["request_id"]: line["code"] for line in lines if line["event"] == "request"}

    def growth(self, server: int) -> float:
        """Resident memory of the last quarter of a server's life over that of the one before."""
        samples = self.resident[server]
        quarter = len(samples) // 4
        return max(samples[-quarter:]) / statistics.median(samples[-2 * quarter : -quarter])


async def soak(
    start: Callable[[], RunningServer],
    *,
    model: str,
    requests: int,
    clients: int,
    events: Sequence[Event],
) -> Soak:
    """`events` happen one after the other, evenly spread over the requests.

    `start` starts a server, always on the same port and with an access log.
    """
    result, visits, numbers = Soak(), mixed_visits(0), iter(range(requests))

    def begin() -> None:
        result.servers.append(start())
        result.resident.append([])
        result.servers[-1].wait_ready()

    await asyncio.to_thread(begin)
    url = result.servers[0].url

    async def client() -> None:
        async with connected(url) as connection:
            for number in numbers:
                await result.visitors.visit(connection, next(visits), f"visit-{number}")

    async def happen() -> None:
        for index, event in enumerate(events, 1):
            await _reached(result, requests * index // (len(events) + 1))
            if event == "reload":
                result.reloads.append(await _reload(url, model))
                continue
            server = result.servers[-1]
            refused = result.visitors.refused
            server.process.send_signal(signal.SIGTERM)
            result.exits.append(await asyncio.to_thread(server.wait))
            # All who were turned away wait a second: somebody is to find nobody there.
            while result.visitors.refused == refused:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.01)
            await asyncio.to_thread(begin)

    async def watch() -> None:
        for hundredth in range(1, 101):
            await _reached(result, requests * hundredth // 100)
            with suppress(OSError, KeyError):  # it has just stopped
                footprint = Footprint.of(result.servers[-1].process.pid)
                result.resident[-1].append(footprint.resident)

    async with asyncio.TaskGroup() as group:
        for work in (happen(), watch(), *(client() for _ in range(clients))):
            group.create_task(work)
    return result


async def _reached(result: Soak, answers: int) -> None:
    while result.answered < answers:  # noqa: ASYNC110 - nobody could set an event for each number
        await asyncio.sleep(0.01)


async def _reload(url: str, model: str) -> int:
    async with connected(url) as connection:
        answer = await connection.ask(
            f"/v1/admin/models/{model}/load",
            method="POST",
            authorization=f"Bearer {ADMIN_TOKEN}",
        )
    return answer.status
