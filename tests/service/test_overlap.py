"""Batches begun before the one before is done, by engines that can."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from batching import Rig, gathered
from fakes import FakeEngine, Gate
from serving import eventually

from service import watchdog
from service.batcher import State
from service.engine_protocol import in_tiles
from service.errors import EngineOutOfMemoryError, InferenceError
from service.watchdog import Device


class Overlapping(FakeEngine):
    """Computes when a batch is finished; `events` has the order of things.

    `trouble(stage, z_BZ)` runs as a batch is begun and as it is finished: it may wait or raise.
    """

    def __init__(self, *, tile=4, trouble=lambda stage, z_BZ: None):
        super().__init__(tile=tile)
        self.events = []
        self._trouble = trouble

    def begin(self, z_BZ, y_BL):
        numbers = [int(z_Z[0]) for z_Z in z_BZ]
        self.events.append(("begin", numbers))
        self._trouble("begin", z_BZ)

        def finish():
            self._trouble("finish", z_BZ)
            self.events.append(("finish", numbers))
            return self.generate(z_BZ, y_BL)

        return finish


@pytest.fixture
def gate():
    return Gate()


async def five_behind(gate, engine):
    """Latents 1…5 queue while 0 is under way."""
    rig = await Rig(lambda: engine).ready()
    first = rig.submit(0)
    await gate.reached()
    return rig, [first, *await rig.queued(1, 2, 3, 4, 5)]


def at_zero(gate):
    """Holds latent 0 before it is finished."""

    def trouble(stage, z_BZ):
        if stage == "finish" and 0 in z_BZ:
            gate(len(z_BZ))

    return trouble


async def test_the_next_batch_is_begun_before_the_last_is_finished(gate):
    engine = Overlapping(trouble=at_zero(gate))
    rig, tasks = await five_behind(gate, engine)
    gate.open()
    results = await gathered(tasks)
    # What came while the engine had one batch only waited for that; the rest overlap.
    assert engine.events == [
        ("begin", [0]),
        ("finish", [0]),
        ("begin", [1, 2, 3, 4]),
        ("begin", [5]),
        ("finish", [1, 2, 3, 4]),
        ("finish", [5]),
    ]
    pictures = [engine._picture(np.full(8, n, np.float32), np.zeros(7)) for n in range(6)]
    assert all(np.array_equal(r.image, p) for r, p in zip(results, pictures, strict=True))
    assert rig.value("visage_images_generated_total", model="fake-16", conditional="true") == 6
    assert rig.value("visage_inference_seconds_count", model="fake-16") == 3


@pytest.mark.parametrize("stage", ["begin", "finish"])
async def test_only_the_picture_that_cannot_be_computed_fails(gate, stage):
    hold = at_zero(gate)

    def trouble(when, z_BZ):
        hold(when, z_BZ)
        if when == stage and 3 in z_BZ:
            raise RuntimeError("it cannot do that")

    class Failing(Overlapping):
        def generate(self, z_BZ, y_BL):
            if 3 in z_BZ:
                raise RuntimeError("it cannot do that")
            return super().generate(z_BZ, y_BL)

    rig, tasks = await five_behind(gate, Failing(trouble=trouble))
    gate.open()
    results = await gathered(tasks)
    assert [isinstance(r, InferenceError) for r in results] == [False] * 3 + [True] + [False] * 2
    assert rig.batcher.state is State.READY


async def test_out_of_memory_halves_the_tile_once_nothing_is_under_way(gate):
    hold = at_zero(gate)

    class Small(Overlapping):
        def begin(self, z_BZ, y_BL):
            finish = super().begin(z_BZ, y_BL)
            self._fit(z_BZ)
            return finish

        def generate(self, z_BZ, y_BL):
            self._fit(z_BZ)
            return super().generate(z_BZ, y_BL)

        def halve_tile(self):
            self.events.append(("halve", []))
            return super().halve_tile()

        def _fit(self, z_BZ):
            if 0 not in z_BZ and self.tile > 2:
                raise EngineOutOfMemoryError("no room")

    engine = Small(tile=4, trouble=hold)
    rig, tasks = await five_behind(gate, engine)
    gate.open()
    results = await gathered(tasks)
    assert not any(isinstance(r, Exception) for r in results)
    assert rig.batcher.tile == 2
    assert rig.value("visage_engine_oom_total", model="fake-16") == 3  # [1, 2, 3, 4], [5] and [1]
    assert engine.events[-1] == ("halve", [])


async def test_a_thread_that_is_torn_down_leaves_none_of_its_batches_waiting(gate):
    def trouble(stage, z_BZ):
        if stage == "finish" and 0 in z_BZ:
            gate(1)
        if stage == "finish" and 1 in z_BZ:
            raise SystemExit

    rig, tasks = await five_behind(gate, Overlapping(trouble=trouble))
    gate.open()
    results = await gathered(tasks)
    assert [isinstance(r, Exception) for r in results] == [False] + [True] * 5
    await eventually(lambda: rig.batcher.state is State.FAILED)


async def test_another_model_has_its_turn_between_two_batches(gate):
    engine = Overlapping(tile=1, trouble=at_zero(gate))
    device = Device()
    rig = Rig(lambda: engine, device=device)
    await rig.ready()
    first = rig.submit(0)
    await gate.reached()
    rest = await rig.queued(1, 2)

    def other():
        with device:
            engine.events.append(("other", []))

    thread = threading.Thread(target=other)
    thread.start()
    await eventually(lambda: device.wanted)
    gate.open()
    await gathered([first, *rest])
    thread.join(20)
    assert engine.events.index(("other", [])) < engine.events.index(("begin", [1]))


async def test_each_batch_of_a_long_turn_has_the_watchdogs_whole_patience(gate, monkeypatch):
    hold, rigs, seen, now = at_zero(gate), [], [], [0.0]
    # Time passes in batches only, a second in each.
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def trouble(stage, z_BZ):
        hold(stage, z_BZ)
        if stage == "finish":
            seen.append(rigs[0].batcher.watchdog.busy_seconds)
            now[0] += 1

    rig, tasks = await five_behind(gate, Overlapping(tile=1, trouble=trouble))
    rigs.append(rig)
    gate.open()
    await gathered(tasks)
    assert seen == [0] * 6


def test_the_device_goes_to_who_has_waited_longest():
    device, order = Device(), []

    def take(name):
        with device:
            order.append(name)

    with device:
        threads = []
        for name in range(5):
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            while len(device._waiting) <= name:
                threading.Event().wait(0.001)
        assert device.wanted
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]
    assert not device.wanted


def test_a_failure_among_several_tiles_leaves_nothing_under_way():
    events = []

    def begin(z_BZ, y_BL):
        number = int(z_BZ[0, 0])
        events.append(f"begin {number}")

        def finish():
            events.append(f"finish {number}")
            if number == 0:
                raise RuntimeError("the first")
            return np.zeros((len(z_BZ), 1, 1, 3), np.uint8)

        return finish

    z_BZ, y_BL = np.arange(5, dtype=np.float32)[:, None], np.zeros((5, 0), np.float32)
    assert len(in_tiles(begin, 2, z_BZ[1:], y_BL[1:])) == 4
    events.clear()
    with pytest.raises(RuntimeError, match="the first"):
        in_tiles(begin, 2, z_BZ, y_BL)
    assert events == ["begin 0", "begin 2", "finish 0", "finish 2"]
