"""Many works, a few at a time, their results in order.

Knows nothing about pictures or queues: so that one great request stands in a queue with a few
entries at a time, and the others' requests between them.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
"""Begins when called."""

PAUSE = 0.02
"""Seconds between two tries."""


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


def insisting(
    works: Sequence[Work[T]],
    *,
    on: type[Exception],
    seconds: float,
    quietly: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[Work[T]]:
    """`works`, all but the first of which try again where they raise `on`, for so many seconds.

    The first decides whether the whole is let in; the others belong to what was. `quietly`: entered
    for each try after which there is another one, so that only what is raised in the end is told.
    """

    def insistent(work: Work[T]) -> Work[T]:
        async def trying() -> T:
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up:
                with suppress(on), quietly():
                    return await work()
                await asyncio.sleep(PAUSE)
            return await work()

        return trying

    return [*works[:1], *(insistent(work) for work in works[1:])]
