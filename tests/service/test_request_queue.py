import asyncio
import threading
import time

import numpy as np
import pytest
from serving import eventually

from service.errors import DeadlineError, DrainingError, QueueFullError
from service.request_queue import Inferred, RequestQueue, settle
from service.telemetry import Telemetry

Z = np.zeros(2, np.float32)
PICTURE = Inferred(np.zeros((1, 1, 3), np.uint8), 0.0, 0.0)


def draining():
    return DrainingError("stopping")


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def queue(telemetry):
    return RequestQueue(3, telemetry)


async def waiting(queue, count=1, seconds=30.0, first=0):
    """Tasks that wait in the queue, their z numbered from `first`."""
    tasks = [
        asyncio.create_task(queue.submit(Z + n, Z, deadline=time.monotonic() + seconds))
        for n in range(first, first + count)
    ]
    before = len(queue)
    await eventually(lambda: len(queue) == before + count)
    return tasks


async def test_first_in_first_out_up_to_the_limit(queue):
    tasks = await waiting(queue, 3)
    batch = queue.take(2)
    assert [entry.z[0] for entry in batch] == [0, 1]
    assert len(queue) == 1
    settle((entry, PICTURE) for entry in batch)
    assert await asyncio.gather(*tasks[:2]) == [PICTURE, PICTURE]
    tasks[2].cancel()


async def test_a_full_queue_refuses_at_once(queue):
    tasks = await waiting(queue, 3)
    with pytest.raises(QueueFullError, match="3 requests") as refused:
        await queue.submit(Z, Z, deadline=time.monotonic() + 30)
    assert refused.value.reason == "queue_full"
    for task in tasks:
        task.cancel()


async def test_who_will_be_refused_can_know_before_any_work(queue):
    queue.check(30)
    tasks = await waiting(queue, 2)
    queue.set_pace(1.0)
    queue.check(4.1)
    with pytest.raises(QueueFullError, match=r"will take 2\.0 seconds") as refused:
        queue.check(3.9)
    assert refused.value.reason == "deadline"
    tasks += await waiting(queue, 1)
    with pytest.raises(QueueFullError, match="3 requests") as refused:
        queue.check(30)
    assert refused.value.reason == "queue_full"
    assert len(queue) == 3
    for task in tasks:
        task.cancel()


async def test_a_cancelled_caller_frees_its_place_at_once(queue, telemetry):
    tasks = await waiting(queue, 3)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert len(queue) == 2
    assert [entry.z[0] for entry in queue.take(3)] == [0, 2]
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    value = telemetry.registry.get_sample_value
    assert value("visage_requests_cancelled_total", {"stage": "queued"}) == 1
    assert value("visage_requests_cancelled_total", {"stage": "running"}) == 1
    tasks[2].cancel()


async def test_a_passed_deadline_wakes_the_caller_and_costs_the_engine_nothing(queue):
    with pytest.raises(DeadlineError):
        await queue.submit(Z, Z, deadline=time.monotonic() + 0.05)
    assert len(queue) == 0
    queue.nudge()
    assert queue.take(4) is None


async def test_an_expired_entry_whose_caller_has_not_woken_is_not_handed_out(queue):
    late, good = (
        asyncio.create_task(queue.submit(Z + n, Z, deadline=time.monotonic() + seconds))
        for n, seconds in ((0, 0.1), (5, 30))
    )
    await asyncio.sleep(0)  # both are in the queue, and the first has not woken, however late it is
    assert len(queue) == 2
    time.sleep(0.2)  # noqa: ASYNC251 (the event loop is busy: that is the case)
    assert [entry.z[0] for entry in queue.take(4)] == [5]
    with pytest.raises(DeadlineError):
        await late
    good.cancel()


async def test_take_blocks_until_something_comes(queue):
    taken = asyncio.create_task(asyncio.to_thread(queue.take, 4))
    (task,) = [asyncio.create_task(queue.submit(Z, Z, deadline=time.monotonic() + 30))]
    batch = await taken
    settle((entry, PICTURE) for entry in batch)
    assert await task is PICTURE


async def test_take_waits_for_company_but_not_for_ever(queue):
    taken = asyncio.create_task(asyncio.to_thread(queue.take, 2, wait=20))
    first = await waiting(queue, 1)
    second = asyncio.create_task(queue.submit(Z + 1, Z, deadline=time.monotonic() + 30))
    assert len(await taken) == 2
    third = await waiting(queue, 1)
    assert len(queue.take(2, wait=0.01)) == 1
    for task in (*first, second, *third):
        task.cancel()


async def test_a_closed_queue_hands_out_the_rest_and_then_nothing(queue):
    tasks = await waiting(queue, 2)
    queue.close(draining)
    with pytest.raises(DrainingError, match="stopping"):
        await queue.submit(Z, Z, deadline=time.monotonic() + 30)
    batch = queue.take(4)
    assert len(batch) == 2
    settle((entry, PICTURE) for entry in batch)
    await asyncio.gather(*tasks)
    assert queue.take(4) == []


async def test_closing_wakes_who_blocks_in_take(queue):
    taken = asyncio.create_task(asyncio.to_thread(queue.take, 4))
    queue.close(draining)
    assert await taken == []


async def test_an_abandoned_queue_refuses_everybody(queue):
    tasks = await waiting(queue, 2)
    queue.abandon(draining)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["stopping", "stopping"]
    assert errors[0] is not errors[1]
    assert queue.take(4) == []


async def test_settling_after_the_caller_left_harms_nobody(queue):
    gone, stays = await waiting(queue, 2)
    batch = queue.take(2)
    gone.cancel()
    await asyncio.wait([gone])
    outcomes = [(entry, PICTURE) for entry in batch]
    thread = threading.Thread(target=settle, args=(outcomes,))
    thread.start()
    assert await stays is PICTURE
    thread.join()


def test_settling_on_a_closed_loop_harms_nobody(queue):
    async def leave_one_behind():
        await waiting(queue, 1)
        return queue.take(1)

    batch = asyncio.run(leave_one_behind())
    settle((entry, PICTURE) for entry in batch)


async def test_who_could_not_be_served_in_time_is_refused_on_arrival():
    telemetry = Telemetry()
    queue = RequestQueue(100, telemetry)
    queue.set_pace(10.0)
    first = await waiting(queue, 1, seconds=5)
    with pytest.raises(QueueFullError) as refused:
        await queue.submit(Z, Z, deadline=time.monotonic() + 5)
    assert refused.value.retry_after == 5
    assert refused.value.reason == "deadline"
    patient = await waiting(queue, 1, seconds=60)
    for task in first + patient:
        task.cancel()


async def test_the_queue_may_take_half_of_the_time_until_the_deadline():
    """The rest is for the batch under way, for encoding and for an engine that has slowed down."""
    queue = RequestQueue(100, Telemetry())
    queue.set_pace(3.0)
    first = await waiting(queue, 1, seconds=5)
    with pytest.raises(QueueFullError, match=r"3\.0 seconds"):
        await queue.submit(Z, Z, deadline=time.monotonic() + 5)
    second = await waiting(queue, 1, seconds=7)
    for task in first + second:
        task.cancel()


async def test_patience_and_nudges_end_a_take_that_finds_nothing(queue):
    assert queue.take(4, patience=0.01) is None
    taken = asyncio.create_task(asyncio.to_thread(queue.take, 4))
    queue.nudge()
    assert await taken is None
    queue.close(draining)
    assert queue.take(4, patience=0.01) == []
