"""An open loop: arrivals at their own pace, whatever becomes of those before.

Lean, because it takes its processor time from the server it measures: sockets and one epoll, no
event loop, and of an answer no more is read than its status and its length. What it took stands in
the result. Linux only.
"""

import random
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

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
    connections: int
    """That had to be opened: a request takes one that is idle, where there is one."""
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


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    unsent: bytes
    """The first request, until there is a connection."""
    due: float | None
    """When the request that waits for its answer was due, by the clock."""
    head: bytes = b""
    missing: int = -1
    """Bytes of the body still to come; -1: the head is not whole yet."""
    status: int = 0
    last: bool = False


class _Load:
    def __init__(self, address: tuple[str, int], tally: _Tally) -> None:
        self._address, self._tally = address, tally
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self.opened = 0

    def ask(self, wire: bytes, due: float) -> None:
        if self._idle:
            connection = self._idle.pop()
            connection.due = due
            self._send(connection, wire)
            return
        fresh = socket.socket()
        fresh.setblocking(False)
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fresh.connect_ex(self._address)
        self._open[fresh.fileno()] = _Connection(fresh, wire, due)
        self._poll.register(fresh, select.EPOLLOUT)
        self.opened += 1

    def turn(self, seconds: float) -> None:
        """Wait so long for something to happen, and see to it."""
        for number, events in self._poll.poll(seconds):
            connection = self._open[number]
            if events & select.EPOLLIN or not events & select.EPOLLOUT:
                self._read(connection)
            else:
                self._poll.modify(number, select.EPOLLIN)
                self._send(connection, connection.unsent)

    @property
    def waiting(self) -> int:
        return sum(connection.due is not None for connection in self._open.values())

    def close(self) -> None:
        for connection in list(self._open.values()):
            self._drop(connection)
        self._poll.close()

    def _send(self, connection: _Connection, wire: bytes) -> None:
        try:
            connection.socket.send(wire)
        except OSError:
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(2**16)
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        if connection.missing < 0:
            data = connection.head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                connection.head = data
                return
            connection.head, head, data = b"", data[:end].lower(), data[end + 4 :]
            connection.status = int(head[9:12])
            at = head.find(b"content-length: ")
            connection.missing = int(head[at + 16 :].split(b"\r", 1)[0]) if at >= 0 else 0
            connection.last = b"connection: close" in head
        connection.missing -= len(data)
        if connection.missing <= 0:
            connection.missing = -1
            due, connection.due = connection.due, None
            if due is not None:
                self._tally.count(connection.status, due)
            if connection.last:
                self._drop(connection)
            else:
                self._idle.append(connection)

    def _drop(self, connection: _Connection) -> None:
        self._tally.failed += connection.due is not None
        if connection in self._idle:
            self._idle.remove(connection)
        del self._open[connection.socket.fileno()]
        connection.socket.close()  # which takes it out of the poll


def open_loop(url: str, ask: Ask, rate: float, seconds: float, deadline: float) -> OpenResult:
    """Poisson arrivals, `rate` a second for `seconds`; an answer is good within `deadline`."""
    host = urlsplit(url)
    assert host.hostname, f"{url} names no host"
    assert host.port, f"{url} names no port"
    wire, seed = _writer(host.netloc, ask), first_seed()
    tally = _Tally(time.perf_counter(), seconds, deadline)
    load = _Load((host.hostname, host.port), tally)
    randomness, due, number, busy = random.Random(0), 0.0, 0, time.process_time()
    while due < seconds:
        passed = time.perf_counter() - tally.start
        while due < min(passed, seconds):
            load.ask(wire(seed + number), tally.start + due)
            due += randomness.expovariate(rate)
            number += 1
        load.turn(max(0.0, due - passed))
    processor = (time.process_time() - busy) / seconds
    give_up = time.perf_counter() + LINGER
    while load.waiting and time.perf_counter() < give_up:
        load.turn(0.05)
    load.close()
    return OpenResult(
        offered=number / seconds,
        rate=tally.in_time / seconds,
        p50=_percentile(tally.taken, 0.5),
        p99=_percentile(tally.taken, 0.99),
        refused=len(tally.refused),
        refused_p50=_percentile(tally.refused, 0.5),
        failed=tally.failed,
        connections=load.opened,
        processor=processor,
    )


def _writer(netloc: str, ask: Ask) -> Callable[[int], bytes]:
    """Seed → the bytes of a request."""
    headers = {"Host": netloc, **ask.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def wire(seed: int) -> bytes:
        body = ask.body.replace("SEED", str(seed))
        length = f"Content-Length: {len(body)}\r\n" if ask.method == "POST" else ""
        path = ask.path.replace("SEED", str(seed))
        return f"{ask.method} {path} HTTP/1.1\r\n{lines}{length}\r\n{body}".encode()

    return wire


def _percentile(values: list[float], share: float) -> float:
    values.sort()
    return values[int(share * len(values))] if values else float("nan")
