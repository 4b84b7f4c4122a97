"""A Redis that is not well: a proxy before a real one that delays, damages or makes up answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Trouble = Callable[[bytes], bytes]
"""What Redis says → what is said instead."""
PICTURE = 200
"""Bytes of an answer that holds one, at least."""


def flipped(answer: bytes) -> bytes:
    """One bit of it is another one."""
    at = _draw.randrange(len(answer))
    return answer[:at] + bytes([answer[at] ^ 1 << _draw.randrange(8)]) + answer[at + 1 :]


def cut(answer: bytes) -> bytes:
    """The end of it never comes."""
    return answer[: _draw.randrange(len(answer))]


def damaged(answer: bytes) -> bytes:
    """Well-formed, but a bit of each picture is another one."""
    if len(answer) < PICTURE:
        return answer
    at = len(answer) - 3 - _draw.randrange(PICTURE // 2)
    return answer[:at] + bytes([answer[at] ^ 1 << _draw.randrange(8)]) + answer[at + 1 :]


def swapped() -> Trouble:
    """Well-formed, but each picture is the one that was asked for before."""
    last: list[bytes] = []

    def trouble(answer: bytes) -> bytes:
        if len(answer) < PICTURE:
            return answer
        last.append(answer)
        return last.pop(0) if len(last) > 1 else b"$-1\r\n"

    return trouble


def says(*texts: bytes) -> Trouble:
    """One of these, whatever was asked."""
    return lambda answer: _draw.choice(texts)


_draw = random.Random(0)


class BadRedis:
    """Listens at `url`; well until `trouble` is set."""

    def __init__(self, port: int) -> None:
        self.trouble: Trouble | None = None
        self.delay = 0.0
        """Seconds before each answer."""
        self.answers = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        inside, to_redis = await asyncio.open_connection("127.0.0.1", self._port)

        async def onward() -> None:
            while asked := await reader.read(2**16):
                to_redis.write(asked)
            to_redis.close()

        async def back() -> None:
            while answer := await inside.read(2**20):
                await asyncio.sleep(self.delay)
                self.answers += 1
                writer.write(self.trouble(answer) if self.trouble else answer)
            writer.close()

        try:
            # A handler that ends by being cancelled makes asyncio complain.
            with suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(onward(), back())
        finally:
            to_redis.transport.abort()
            writer.transport.abort()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def before(port: int) -> AsyncIterator[tuple[BadRedis, str]]:
    """One in front of the Redis at `port`, and its address."""
    bad = BadRedis(port)
    async with await asyncio.start_server(bad.serve, "127.0.0.1", 0) as server:
        yield bad, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        await bad.close()
