import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from batching import Rig, gathered
from fakes import FakeEngine, Gate, face_spec
from serving import eventually
from structlog.testing import capture_logs

from service.batcher import FAILURES_BEFORE_DEATH, State
from service.errors import DrainingError, EngineOutOfMemoryError, InferenceError, NotReadyError


async def test_everything_happens_on_one_thread_that_is_not_the_callers():
    engine = FakeEngine()
    loaded_on = []

    def load():
        loaded_on.append(threading.get_ident())
        return engine

    rig = await Rig(load).ready()
    await rig.submit(1)
    assert engine.threads == set(loaded_on)
    assert threading.get_ident() not in loaded_on


async def test_what_queues_while_the_engine_is_busy_is_the_next_batch():
    gate = Gate()
    engine = FakeEngine(tile=4, before_batch=gate)
    rig = await Rig(lambda: engine).ready()
    first = rig.submit(0)
    await gate.reached()
    rest = await rig.queued(1, 2, 3, 4, 5)
    gate.open()
    await gathered([first, *rest])
    assert engine.batches == [1, 4, 1]
    assert rig.value("visage_batch_size_sum", model="fake-16") == 6
    assert rig.value("visage_batch_fill_ratio_sum", model="fake-16") == 1.5
    assert rig.value("visage_inference_seconds_count", model="fake-16") == 3
    assert rig.value("visage_queue_wait_seconds_count") == 6
    assert rig.value("visage_images_generated_total", model="fake-16", conditional="true") == 6


async def test_each_waiter_gets_its_own_picture():
    engine = FakeEngine(tile=4)
    rig = await Rig(lambda: engine).ready()
    results = await gathered([rig.submit(n) for n in range(10)])
    expected = engine.generate(
        np.stack([np.full(8, n, np.float32) for n in range(10)]), np.zeros((10, 7), np.float32)
    )
    assert all(np.array_equal(r.image, e) for r, e in zip(results, expected, strict=True))


async def test_cancelled_and_expired_requests_never_reach_the_engine():
    gate = Gate()
    engine = FakeEngine(before_batch=gate)
    rig = await Rig(lambda: engine).ready()
    first = rig.submit(0)
    await gate.reached()
    gone, stays = await rig.queued(1, 2)
    late = rig.submit(3, seconds=0.01)
    gone.cancel()
    await gathered([gone, late])
    gate.open()
    await gathered([first, stays])
    assert [z[0] for z in engine.seen] == [0, 2]


POISON = 3.0


async def batch_of_five_behind_a_gate(fail):
    """Latents 1…5 queue while 0 runs; `fail(z_BZ)` says whether the engine raises."""
    gate = Gate()

    class Failing(FakeEngine):
        def generate(self, z_BZ, y_BL):
            image_BHWC = super().generate(z_BZ, y_BL)
            if fail(z_BZ):
                raise RuntimeError("it cannot do that")
            return image_BHWC

    engine = Failing(tile=4, before_batch=gate)
    rig = await Rig(lambda: engine).ready()
    first = rig.submit(0)
    await gate.reached()
    rest = await rig.queued(1, 2, 3, 4, 5)
    gate.open()
    return rig, engine, await gathered([first, *rest])


async def test_only_the_picture_that_cannot_be_computed_fails():
    rig, engine, results = await batch_of_five_behind_a_gate(lambda z_BZ: (z_BZ == POISON).any())
    assert [isinstance(r, InferenceError) for r in results] == [False] * 3 + [True] + [False] * 2
    assert engine.batches == [1, 4, 1, 1, 1, 1, 1]
    assert rig.batcher.state is State.READY


async def test_a_passing_trouble_fails_nobody():
    troubles = iter([False, True])
    _, _, results = await batch_of_five_behind_a_gate(lambda z_BZ: next(troubles, False))
    assert not any(isinstance(r, Exception) for r in results)


async def test_out_of_memory_halves_the_tile_and_goes_on():
    class Small(FakeEngine):
        def generate(self, z_BZ, y_BL):
            if self.tile > 2:
                raise EngineOutOfMemoryError("no room")
            return super().generate(z_BZ, y_BL)

    rig = await Rig(lambda: Small(tile=8)).ready()
    results = await gathered([rig.submit(n) for n in range(5)])
    assert not any(isinstance(r, Exception) for r in results)
    assert rig.batcher.tile == 2
    assert rig.value("visage_engine_oom_total", model="fake-16") == 2


async def test_out_of_memory_for_one_picture_is_said():
    class Full(FakeEngine):
        def generate(self, z_BZ, y_BL):
            raise EngineOutOfMemoryError("no room")

    rig = await Rig(lambda: Full(tile=2)).ready()
    with pytest.raises(InferenceError):
        await rig.submit(0)
    assert rig.batcher.tile == 1


async def test_an_engine_that_returns_too_few_pictures_has_failed():
    class Short(FakeEngine):
        def generate(self, z_BZ, y_BL):
            return super().generate(z_BZ, y_BL)[:-1]

    rig = await Rig(Short).ready()
    with pytest.raises(InferenceError):
        await rig.submit(0)


async def test_an_engine_that_keeps_failing_is_given_up():
    def fail(size):
        raise RuntimeError("the device is lost")

    rig = await Rig(lambda: FakeEngine(tile=1, before_batch=fail)).ready()
    for n in range(FAILURES_BEFORE_DEATH):
        with pytest.raises(InferenceError):
            await rig.submit(n)
    await eventually(lambda: rig.batcher.state is State.FAILED)
    with pytest.raises(NotReadyError, match="batches in a row failed"):
        rig.batcher.spec()
    with pytest.raises(NotReadyError):
        await rig.submit(9)


async def test_one_good_batch_forgives_those_before():
    # Each request is tried twice.
    failing = iter([*[True] * 4, False, *[True] * 4, False])

    def sometimes(size):
        if next(failing):
            raise RuntimeError("a passing trouble")

    rig = await Rig(lambda: FakeEngine(tile=1, before_batch=sometimes)).ready()
    results = [(await gathered([rig.submit(n)]))[0] for n in range(6)]
    assert [isinstance(r, InferenceError) for r in results] == [True, True, False] * 2
    assert rig.batcher.ready


async def test_even_a_thread_that_is_torn_down_leaves_nobody_waiting():
    gate = Gate()

    def tear(size):
        gate(size)
        raise SystemExit

    rig = await Rig(lambda: FakeEngine(before_batch=tear)).ready()
    first = rig.submit(0)
    await gate.reached()
    rest = await rig.queued(1, 2)
    gate.open()
    results = await gathered([first, *rest])
    assert [type(r) for r in results] == [InferenceError, NotReadyError, NotReadyError]
    assert rig.batcher.state is State.FAILED


async def test_an_engine_that_does_not_load_is_named():
    def load():
        raise ValueError("the folder is empty")

    rig = Rig(load)
    rig.batcher.start()
    await eventually(lambda: rig.batcher.state is State.FAILED)
    with pytest.raises(NotReadyError, match="the folder is empty"):
        rig.batcher.spec()


async def test_an_engine_that_fails_to_warm_up_is_let_go():
    engines = []

    class Broken(FakeEngine):
        def __init__(self):
            super().__init__()
            engines.append(weakref.ref(self))

        def warm_up(self):
            try:
                self.halve(0)
            except ZeroDivisionError as error:
                raise RuntimeError("no such device") from error

        def halve(self, by):
            return self.tile / by

    rig = Rig(Broken)
    with capture_logs():  # printing a traceback's locals would keep them
        rig.batcher.start()
        await eventually(lambda: rig.batcher.state is State.FAILED)
    with pytest.raises(NotReadyError, match="no such device"):
        rig.batcher.spec()
    assert await asyncio.to_thread(rig.batcher.join, 20)
    gc.collect()
    assert [engine() for engine in engines] == [None]


async def test_a_failure_whose_causes_go_in_a_circle_ends_the_thread():
    def load():
        first = ValueError("no such device")
        try:
            raise first
        except ValueError:
            try:
                raise RuntimeError("nor another one")
            except RuntimeError as error:
                second = error
        raise first from second

    rig = Rig(load)
    with capture_logs():
        rig.batcher.start()
        assert await asyncio.to_thread(rig.batcher.join, 20)
    assert rig.batcher.settled
    assert rig.batcher.state is State.FAILED


async def test_states_on_the_way_up_are_told():
    loading, warming = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def warm_up(self):
            warming.wait(20)

    def load():
        loading.wait(20)
        return Slow()

    rig = Rig(load)
    rig.batcher.start()
    with pytest.raises(NotReadyError, match="loading the model"):
        rig.batcher.spec()
    loading.set()
    await eventually(lambda: rig.batcher.state is State.WARMING_UP)
    with pytest.raises(NotReadyError, match="warming up"):
        rig.batcher.spec()
    warming.set()
    await eventually(lambda: rig.batcher.ready)
    assert rig.batcher.spec() == face_spec(space=rig.batcher.spec().space)


async def test_draining_finishes_what_waits_and_accepts_no_more():
    gate = Gate()
    rig = await Rig(lambda: FakeEngine(tile=1, before_batch=gate)).ready()
    first = rig.submit(0)
    await gate.reached()
    rest = await rig.queued(1, 2)
    rig.batcher.drain()
    with pytest.raises(DrainingError):
        await rig.submit(3)
    assert not rig.batcher.join(0)
    gate.open()
    results = await gathered([first, *rest])
    assert not any(isinstance(r, Exception) for r in results)
    assert await asyncio.to_thread(rig.batcher.join, 20)
    assert rig.batcher.state is State.STOPPED
    rig.batcher.drain()
    assert rig.batcher.state is State.STOPPED


async def test_an_engine_whose_work_is_over_is_let_go():
    engine = FakeEngine(tile=2)
    rig = await Rig(lambda: engine).ready()
    await rig.submit(0)
    gone, engine = weakref.ref(engine), None
    rig.batcher.drain()
    assert await asyncio.to_thread(rig.batcher.join, 20)
    gc.collect()
    assert gone() is None
    assert rig.batcher.tile == 2  # whoever divides by it may still


async def test_an_engine_that_was_given_up_is_let_go():
    def fail(size):
        raise RuntimeError("the device is lost")

    engine = FakeEngine(tile=1, before_batch=fail)
    rig = await Rig(lambda: engine).ready()
    gone, engine = weakref.ref(engine), None
    with capture_logs():
        for n in range(FAILURES_BEFORE_DEATH):
            await gathered([rig.submit(n)])
        await eventually(lambda: rig.batcher.state is State.FAILED)
    assert await asyncio.to_thread(rig.batcher.join, 20)
    gc.collect()
    assert gone() is None
    assert rig.batcher.tile == 1
    with pytest.raises(NotReadyError, match="batches in a row failed"):
        rig.batcher.spec()


async def test_a_drain_while_loading_ends_the_thread_once_it_has_loaded():
    loading = threading.Event()

    def load():
        loading.wait(20)
        return FakeEngine()

    rig = Rig(load)
    rig.batcher.start()
    rig.batcher.drain()
    loading.set()
    assert await asyncio.to_thread(rig.batcher.join, 20)
    assert rig.batcher.state is State.STOPPED
