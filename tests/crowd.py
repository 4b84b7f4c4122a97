"""Thousands of connections that want nothing, or want it slowly, cheap enough to hold."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from urllib.parse import urlsplit

SHEET = json.dumps({"count": 64, "layout": "sheet", "size": 128}).encode()
"""A megapixel: far more than the system buffers for somebody who does not read."""
PORTS_PER_ADDRESS = 5000
"""One address of ours has no more ports than 28,000, and others use them too."""
AT_ONCE = 500
"""Connections opened before the server is given the time to accept them."""


class Crowd:
    """Sockets of one kind, each of which sends `first`, and then `more` at every `stir`.

    `answered`: wait for the first byte of each one's answer before the next one comes.
    """

    def __init__(self, first: bytes = b"", more: bytes = b"", *, answered: bool = False) -> None:
        self._first, self._more, self._answered = first, more, answered
        self.sockets: list[socket.socket] = []

    async def gather(self, url: str, how_many: int) -> None:
        """Connect all of them, from as many addresses of ours as it takes."""
        loop, address = asyncio.get_running_loop(), urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        for number in range(how_many):
            ours = socket.socket()
            self.sockets.append(ours)
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # Which port is decided at the connection: one may be used towards many.
            ours.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            ours.bind((f"127.0.0.{2 + next(_numbers) // PORTS_PER_ADDRESS}", 0))
            await loop.sock_connect(ours, (address.hostname, address.port))
            if self._first:
                await loop.sock_sendall(ours, self._first)
            if self._answered:
                await loop.sock_recv(ours, 1)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0.05)

    def stir(self) -> None:
        """Send a little more on each that the server has not parted with."""
        for ours in self.sockets:
            with suppress(OSError):
                ours.send(self._more)

    def all_closed(self) -> bool:
        """Whether the server has parted with every one."""
        return all(_closed(ours) for ours in self.sockets)

    def leave(self) -> None:
        for ours in self.sockets:
            ours.close()


_numbers = count()


def _closed(ours: socket.socket) -> bool:
    """Takes in what there is."""
    try:
        while ours.recv(2**16):
            pass
    except BlockingIOError:
        return False
    except OSError:  # reset
        pass
    return True


def idle() -> Crowd:
    """They never say anything."""
    return Crowd()


def slow_heads() -> Crowd:
    """A request that never ends: one more header at a time."""
    return Crowd(b"GET /image HTTP/1.1\r\nHost: x\r\n", b"X-More: 1\r\n")


def slow_bodies() -> Crowd:
    """A body that comes byte by byte."""
    return Crowd(
        b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        b"Content-Length: 1000000\r\n\r\n",
        b"x",
    )


def slow_readers() -> Crowd:
    """They ask for a large picture and take in next to nothing of it."""
    head = (
        "POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(SHEET)}\r\n\r\n"
    )
    return Crowd(head.encode() + SHEET, answered=True)


@asynccontextmanager
async def crowds(*given: Crowd) -> AsyncIterator[None]:
    """Room for them in this process; all are gone at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        for crowd in given:
            crowd.leave()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
