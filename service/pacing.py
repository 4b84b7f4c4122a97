"""Many works, a few at a time, their results in order.

Knows nothing about pictures or queues: so that one great request stands in a queue with a few
entries at a time, and the others' requests between them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_order(
    works: Iterable[Callable[[], Coroutine[Any, Any, T]]], *, at_once: int
) -> AsyncGenerator[T, None]:
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
