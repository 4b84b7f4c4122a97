import asyncio
from contextlib import contextmanager

import pytest
from serving import eventually

from service.pacing import in_order, insisting


class Works:
    """Works that end when told to, and notes on what became of them."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.gates = [asyncio.Event() for _ in range(count)]

    def __iter__(self):
        return iter([lambda n=n: self.work(n) for n in range(len(self.gates))])

    async def work(self, number: int) -> int:
        self.begun.append(number)
        try:
            await self.gates[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number


async def test_results_come_in_order_whatever_ends_first():
    works = Works(6)
    for gate in works.gates:
        gate.set()
    works.gates[2].clear()
    results = in_order(works, at_once=3)
    assert [await anext(results), await anext(results)] == [0, 1]
    waiting = asyncio.ensure_future(anext(results))
    await eventually(lambda: works.begun == [0, 1, 2, 3, 4])
    works.gates[2].set()
    assert [await waiting] + [result async for result in results] == [2, 3, 4, 5]


async def test_never_more_are_under_way_than_may_be():
    works = Works(10)
    results = in_order(works, at_once=3)
    waiting = asyncio.ensure_future(anext(results))
    await eventually(lambda: len(works.begun) == 3)
    await asyncio.sleep(0)
    assert works.begun == [0, 1, 2]
    works.gates[0].set()
    assert await waiting == 0
    await results.aclose()
    assert sorted(works.cancelled) == [1, 2]


async def test_closing_stops_what_is_under_way_and_begins_nothing():
    works = Works(10)
    works.gates[0].set()
    results = in_order(works, at_once=4)
    assert await anext(results) == 0
    await results.aclose()
    assert works.begun == [0, 1, 2, 3]
    assert sorted(works.cancelled) == [1, 2, 3]


async def test_a_cancelled_caller_cancels_all_of_it():
    works = Works(10)
    results = in_order(works, at_once=4)
    waiting = asyncio.ensure_future(anext(results))
    await eventually(lambda: len(works.begun) == 4)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sorted(works.cancelled) == [0, 1, 2, 3]


async def test_the_first_failure_ends_it():
    works = Works(4)

    async def fail():
        raise RuntimeError("no")

    results = in_order([fail, *works], at_once=3)
    with pytest.raises(RuntimeError, match="no"):
        await anext(results)
    assert sorted(works.cancelled) == [0, 1]
    assert [result async for result in results] == []


async def test_nothing_to_do_is_nothing():
    assert [result async for result in in_order([], at_once=3)] == []


async def test_all_but_the_first_insist_where_they_are_told_to():
    tries = [0, 0, 0]

    def work(number: int, error: Exception):
        async def attempt() -> int:
            tries[number] += 1
            if tries[number] < 3:
                raise error
            return number

        return attempt

    full, broken = BlockingIOError("full"), RuntimeError("broken")
    works = [work(0, full), work(1, full), work(2, broken)]
    first, second, third = insisting(works, on=BlockingIOError, seconds=20)
    with pytest.raises(BlockingIOError):
        await first()
    assert await second() == 1
    with pytest.raises(RuntimeError):
        await third()
    assert tries == [1, 3, 1]


async def test_it_gives_up_in_the_end():
    async def full():
        raise BlockingIOError("full")

    _, second = insisting([full, full], on=BlockingIOError, seconds=0)
    with pytest.raises(BlockingIOError):
        await second()


async def test_only_the_last_try_is_not_quiet():
    quiet: list[bool] = []
    within = False

    @contextmanager
    def quietly():
        nonlocal within
        within = True
        try:
            yield
        finally:
            within = False

    async def full():
        quiet.append(within)
        raise BlockingIOError("full")

    first, second = insisting([full, full], on=BlockingIOError, seconds=0.05, quietly=quietly)
    for work in (first, second):
        with pytest.raises(BlockingIOError):
            await work()
    assert quiet[0] is False  # the first one's only try
    assert quiet[1:-1]
    assert all(quiet[1:-1])
    assert quiet[-1] is False
