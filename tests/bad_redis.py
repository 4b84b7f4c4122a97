"""A Redis that is not well: a proxy before a real one that delays, damages or makes up answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Trouble = Callable[[bytes], bytes]
"""What Redis says → what is said instead."""


def flipped(answer: bytes) -> bytes:
    """One bit of it is another one."""
    at = _draw.randrange(len(answer))
    return answer[:at] + bytes([answer[at] ^ 1 << _draw.randrange(8)]) + answer[at + 1 :]


def cut(answer: bytes) -> bytes:
    """The end of it never comes."""
    return answer[: _draw.randrange(len(answer))]


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
