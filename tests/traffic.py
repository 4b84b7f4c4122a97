"""Many clients of one server over raw sockets: cheap enough to ask for far more than it can give.

Speaks just enough HTTP/1.1 for the answers of this service: a length or chunks, never neither.
Knows nothing about what is asked for.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

PATIENCE = 120.0
"""Seconds after which an answer that has not come is lost."""


@dataclass(frozen=True)
class Answer:
    """One answer, whole, and the seconds it took from the first byte sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def says_when_to_retry(self) -> bool:
        return self.headers.get("retry-after", "").isdigit()


class Connection:
    """One kept-alive connection; opens itself again where the server has closed it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(
        self, target: str, *, method: str = "GET", body: bytes = b"", **headers: str
    ) -> None:
        """A request, without waiting for its answer. `x_api_key="…"` is a header X-Api-Key."""
        if self._writer is None or self._reader is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self._writer.drain()

    async def ask(self, target: str, **request) -> Answer:
        """The answer. OSError, EOFError: there was none, or half of one."""
        started = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            await self.send(target, **request)
            reader = self._reader
            assert reader is not None
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            if headers.get("transfer-encoding") == "chunked":
                body = b"".join([chunk async for chunk in _chunks(reader)])
            else:
                body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(head[0].split()[1]), headers, body, time.perf_counter() - started)

    async def first_byte(self) -> None:
        """Wait for the beginning of an answer."""
        assert self._reader is not None
        await self._reader.read(1)

    def close(self) -> None:
        """Leave, whatever is under way."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection that is closed at the end, whatever is under way."""
    connection = Connection(url)
    try:
        yield connection
    finally:
        connection.close()


@dataclass
class Tally:
    """What came of a load."""

    answers: list[Answer] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Requests that had no answer, or half of one, and why."""

    async def add(self, connection: Connection, target: str, **request) -> None:
        try:
            self.answers.append(await connection.ask(target, **request))
        except (OSError, EOFError, ValueError, IndexError) as error:
            connection.close()
            self.lost.append(f"{target}: {error!r}")

    @property
    def statuses(self) -> dict[int, int]:
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    @property
    def served(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status == 200]

    def seconds(self, share: float) -> float:
        """That quantile of how long those took that were served."""
        times = sorted(answer.seconds for answer in self.served)
        return times[min(len(times) - 1, int(share * len(times)))]


def new_faces(prefix: str) -> Iterator[str]:
    """Addresses that no cache has."""
    return (f"/v1/faces/{prefix}-{n}.png" for n in count())


async def closed_loop(
    url: str,
    targets: Iterator[str],
    *,
    clients: int,
    seconds: float = float("inf"),
    requests: int | None = None,
    rate: float = float("inf"),
    tally: Tally | None = None,
) -> Tally:
    """Each client asks again once it has its answer; all together at most `rate` times a second.

    Ends after so many `seconds` or `requests`, or with the targets. Who wants to look meanwhile
    brings the `tally`.
    """
    tally = Tally() if tally is None else tally
    until = time.monotonic() + seconds
    left = iter(range(requests)) if requests is not None else count()

    async def client(number: int) -> None:
        due = time.monotonic() + number / rate
        async with connected(url) as connection:
            while True:
                await asyncio.sleep(min(due, until) - time.monotonic())
                if time.monotonic() >= until or next(left, None) is None:
                    return
                target = next(targets, None)
                if target is None:
                    return
                due = max(due + clients / rate, time.monotonic())
                await tally.add(connection, target)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
    return tally


async def open_loop(url: str, targets: Iterator[str], *, rate: float, seconds: float) -> Tally:
    """`rate` arrivals a second as a Poisson process: nobody waits for anybody else's answer."""
    tally = Tally()
    free: list[Connection] = []
    draw = random.Random(0)

    async def arrival(target: str) -> None:
        connection = free.pop() if free else Connection(url)
        await tally.add(connection, target)
        free.append(connection)

    started = due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while (due := due + draw.expovariate(rate)) < started + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(arrival(next(targets)))
    for connection in free:
        connection.close()
    return tally
