import asyncio

import pytest
from serving import eventually

from service.errors import QueueFullError
from service.pacing import in_order, paced


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


async def test_a_full_queue_refuses_the_first_and_keeps_the_others_waiting():
    tries = [0, 0, 0]

    def work(number: int, failures: int, error: Exception):
        async def attempt() -> int:
            tries[number] += 1
            if tries[number] <= failures:
                raise error
            return number

        return attempt

    full = QueueFullError("full")
    with pytest.raises(QueueFullError):
        await anext(paced([work(0, 1, full), work(1, 0, full)], tile=1, seconds=20))
    assert tries[0] == 1
    works = [work(0, 0, full), work(1, 3, full), work(2, 1, RuntimeError("broken"))]
    results = paced(works, tile=1, seconds=20)
    assert [await anext(results), await anext(results)] == [0, 1]
    assert tries[1] == 4
    with pytest.raises(RuntimeError, match="broken"):
        await anext(results)
    assert tries[2] == 1


async def test_they_wait_no_longer_than_a_picture_may_take():
    async def there():
        return 0

    async def full():
        raise QueueFullError("full")

    results = paced([there, full], tile=1, seconds=0)
    assert await anext(results) == 0
    with pytest.raises(QueueFullError):
        await anext(results)


async def test_two_tiles_stand_in_the_queue_at_once():
    works = Works(10)
    results = paced(list(works), tile=2, seconds=20)
    waiting = asyncio.ensure_future(anext(results))
    await eventually(lambda: len(works.begun) == 4)
    await asyncio.sleep(0)
    assert works.begun == [0, 1, 2, 3]
    works.gates[0].set()
    await waiting
    await results.aclose()
