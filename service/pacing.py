"""Many works, a few at a time, their results in order.

So that one great request stands in a queue with a few entries at a time, and the others' requests
between them. Knows nothing about pictures, and of queues that they may be full.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from service.errors import QueueFullError

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
"""Begins when called."""

PAUSE = 0.02
"""Seconds between two tries."""
TILES_AT_ONCE = 2
"""One in the engine and one that waits: more would only keep others waiting."""


def paced(works: Sequence[Work[T]], *, tile: int, seconds: float) -> AsyncGenerator[T, None]:
    """The results in order, two tiles at a time.

    A full queue refuses the whole by its first work; the others, which belong to what was let in,
    wait up to so many seconds for room.
    """
    insistent = [*works[:1], *(_insisting(work, seconds) for work in works[1:])]
    return in_order(insistent, at_once=TILES_AT_ONCE * tile)


async def in_order(works: Iterable[Work[T]], *, at_once: int) -> AsyncGenerator[T, None]:
    """The result of each of `works`, in order; at most `at_once` are begun and not yet taken.

    The first failure ends it, as does closing it: what is under way is cancelled then, and what
    has not begun never does.
    """
    waiting = iter(works)
    begun: deque[asyncio.Task[T]] = deque()
    try:
        while True:
            while len(begun) < at_once and (work := next(waiting, None)) is not None:
                begun.append(asyncio.ensure_future(work()))
            if not begun:
                return
            result = await begun[0]
            begun.popleft()
            yield result
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _insisting(work: Work[T], seconds: float) -> Work[T]:
    """`work`, tried again for so many seconds where the queue is full."""

    async def trying() -> T:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            with suppress(QueueFullError):
                return await work()
            await asyncio.sleep(PAUSE)
        return await work()

    return trying
