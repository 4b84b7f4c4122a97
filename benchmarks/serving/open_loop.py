"""An open loop: arrivals at their own pace, whatever becomes of those before.

Lean, because it takes its processor time from the server it measures: a protocol on uvloop that
reads no more of an answer than its status and its length. What it took stands in the result.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop

from benchmarks.serving.load import first_seed
from benchmarks.serving.servers import Ask

LINGER = 60.0
"""Seconds to wait for the last answers."""


@dataclass(frozen=True)
class OpenResult:
    """What came of arrivals at `offered` a second."""

    offered: float
    rate: float
    """Good answers a second: 200, within the deadline, and within the window of arrivals."""
    p50: float
    """Seconds from when the request was due, of good answers."""
    p99: float
    refused: int
    """503, at any time."""
    refused_p50: float
    failed: int
    """Anything else, answers after their deadline included."""
    processor: float
    """Share of a core that the load took."""


@dataclass
class _Tally:
    start: float
    window: float
    deadline: float
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    in_time: int = 0
    failed: int = 0

    def count(self, status: int, due: float) -> None:
        now = time.perf_counter()
        if status == 200 and now - due <= self.deadline:
            self.taken.append(now - due)
            self.in_time += now - self.start <= self.window
        elif status == 503:
            self.refused.append(now - due)
        else:
            self.failed += 1


class _Connection(asyncio.Protocol):
    """One request at a time; idle ones wait in `idle` to be used again."""

    def __init__(self, idle: deque["_Connection"], tally: _Tally) -> None:
        self._idle, self._tally = idle, tally
        self._due: float | None = None
        self._head = b""
        self._missing = -1  # bytes of the body still to come; -1: the head is not whole yet
        self._status, self._last = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, wire: bytes, due: float) -> None:
        self._due = due
        self._transport.write(wire)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._head = b""
            self._status = int(head[9:12])
            at = head.find(b"content-length: ")
            self._missing = int(head[at + 16 :].split(b"\r", 1)[0]) if at >= 0 else 0
            self._last = b"connection: close" in head
        self._missing -= len(data)
        if self._missing <= 0:
            self._missing = -1
            due, self._due = self._due, None
            if due is not None:
                self._tally.count(self._status, due)
            if self._last:
                self._transport.close()
            else:
                self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._due is not None:
            self._tally.failed += 1
            self._due = None
        if self in self._idle:
            self._idle.remove(self)

    @property
    def waiting(self) -> bool:
        return self._due is not None


def open_loop(url: str, ask: Ask, rate: float, seconds: float, deadline: float) -> OpenResult:
    """Poisson arrivals, `rate` a second for `seconds`; an answer is good within `deadline`."""
    return uvloop.run(_open_loop(url, ask, rate, seconds, deadline))


async def _open_loop(
    url: str, ask: Ask, rate: float, seconds: float, deadline: float
) -> OpenResult:
    host, loop = urlsplit(url), asyncio.get_running_loop()
    wire, seed = _writer(host.netloc, ask), first_seed()
    idle: deque[_Connection] = deque()
    everyone: list[_Connection] = []
    tally = _Tally(time.perf_counter(), seconds, deadline)
    connecting: set[asyncio.Task[None]] = set()

    async def connect(number: int, due: float) -> None:
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(idle, tally), host.hostname, host.port
            )
        except OSError:
            tally.failed += 1
            return
        everyone.append(connection)
        connection.ask(wire(number), due)

    randomness, due, number, busy = random.Random(0), 0.0, 0, time.process_time()
    while due < seconds:
        wait = tally.start + due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        if idle:
            idle.popleft().ask(wire(seed + number), tally.start + due)
        else:
            task = loop.create_task(connect(seed + number, tally.start + due))
            connecting.add(task)
            task.add_done_callback(connecting.discard)
        due += randomness.expovariate(rate)
        number += 1
    processor = (time.process_time() - busy) / seconds
    give_up = time.perf_counter() + LINGER
    while (connecting or any(c.waiting for c in everyone)) and time.perf_counter() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    tally.failed += sum(c.waiting for c in everyone)
    return OpenResult(
        offered=number / seconds,
        rate=tally.in_time / seconds,
        p50=_percentile(tally.taken, 0.5),
        p99=_percentile(tally.taken, 0.99),
        refused=len(tally.refused),
        refused_p50=_percentile(tally.refused, 0.5),
        failed=tally.failed,
        processor=processor,
    )


def _writer(netloc: str, ask: Ask) -> Callable[[int], bytes]:
    """Seed → the bytes of a request."""

    def wire(seed: int) -> bytes:
        body = ask.body.replace("SEED", str(seed))
        headers = {"Host": netloc, **ask.headers}
        if ask.method == "POST":
            headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = ask.path.replace("SEED", str(seed))
        return f"{ask.method} {path} HTTP/1.1\r\n{lines}\r\n{body}".encode()

    return wire


def _percentile(values: list[float], share: float) -> float:
    values.sort()
    return values[int(share * len(values))] if values else float("nan")
