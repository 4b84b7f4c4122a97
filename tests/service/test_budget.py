"""What bounds the large pictures in the making, alone and behind the routes."""

import asyncio
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from fakes import FakeEngine, Gate
from serving import eventually, sample_of, serve

from service.budget import BUDGET, PixelBudget
from service.cache import PictureCache
from service.errors import QueueFullError
from service.pipeline import Pipeline
from service.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def test_what_is_free_can_be_spent_and_comes_back():
    budget = PixelBudget(100)
    with budget.spend(60):
        with budget.spend(40):
            assert budget.taken == 100
            with pytest.raises(QueueFullError, match="smaller"), budget.spend(1):
                pass
        assert budget.taken == 60
    assert budget.taken == 0


def test_it_comes_back_after_a_failure_too():
    budget = PixelBudget(100)
    with pytest.raises(RuntimeError), budget.spend(60):
        raise RuntimeError("broken")
    assert budget.taken == 0


def test_what_is_larger_than_all_of_it_goes_alone():
    budget = PixelBudget(100)
    with budget.spend(500):
        assert budget.taken == 500
        with pytest.raises(QueueFullError), budget.spend(1):
            pass


@pytest.mark.parametrize("end", [lambda job: job.set_result(b""), lambda job: job.cancel()])
def test_what_a_job_works_on_comes_back_when_that_is_done(end):
    budget, job = PixelBudget(100), Future()
    with budget.spend(60) as share:
        share.lasts_until_done(job)
    assert budget.taken == 60
    end(job)
    assert budget.taken == 0
    with budget.spend(60) as share:
        share.lasts_until_done(job)
        assert budget.taken == 60
    assert budget.taken == 0


async def test_what_is_cancelled_before_its_turn_keeps_nothing(telemetry):
    budget, gate = PixelBudget(1000), Gate()
    with ThreadPoolExecutor(1) as encoders, ThreadPoolExecutor(1) as assembler:
        pipeline = Pipeline(PictureCache(0, telemetry), encoders, assembler, telemetry, deadline=9)

        async def assemble(pixels, make):
            with budget.spend(pixels) as share:
                return await pipeline.assembled(make, "image/png", share)

        def large():
            image_HWC = np.zeros((8, 8, 3), np.uint8)
            return weakref.ref(image_HWC), asyncio.create_task(
                assemble(64, lambda: image_HWC.tobytes())
            )

        first = asyncio.create_task(assemble(100, lambda: gate(1) or b"first"))
        await gate.reached()
        image, second = large()
        await eventually(lambda: budget.taken == 164)
        second.cancel()
        await asyncio.wait([second])
        del second
        await eventually(lambda: budget.taken == 100)
        assert image() is None
        gate.open()
        assert await first == b"first"
        assert budget.taken == 0


LARGE = [
    ("GET", "/v1/morph?from=1&to=2&frames=32&size=1024", None),
    ("POST", "/v1/faces", {"count": 25, "size": 1024, "layout": "sheet"}),
]


@pytest.mark.parametrize(("method", "path", "body"), LARGE)
async def test_one_large_picture_too_many_is_refused_at_once(method, path, body, monkeypatch):
    monkeypatch.setattr(BUDGET, "most", 2**25)
    gate = Gate()
    async with serve(lambda: FakeEngine(before_batch=gate)) as client:
        first = asyncio.create_task(client.get("/v1/morph?from=1&to=2&frames=9&size=1024"))
        await gate.reached()
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:visage:problem:queue-full"
        assert answer.headers["Retry-After"] == "2"
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 1
        small = asyncio.create_task(client.get("/v1/morph?from=1&to=2&frames=4"))
        gate.open()
        assert (await first).status_code == 200
        assert (await small).status_code == 200
    assert BUDGET.taken == 0


@pytest.mark.parametrize(
    ("encoder", "asked"), [("morph.animate", LARGE[0]), ("many.encode", LARGE[1])]
)
async def test_who_leaves_during_encoding_leaves_its_memory_taken(encoder, asked, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def encode(*_, **__):
        begun.set()
        go.wait(20)
        return b""

    monkeypatch.setattr(f"service.routes.{encoder}", encode)
    method, path, body = asked
    async with serve(FakeEngine) as client:
        request = asyncio.create_task(client.request(method, path, json=body))
        await asyncio.to_thread(begun.wait, 20)
        taken = BUDGET.taken
        request.cancel()
        await asyncio.wait([request])
        await eventually(lambda: not client.app.state.fleet._served["fake-16"]._holders)
        assert BUDGET.taken == taken > 0
        go.set()
        await eventually(lambda: BUDGET.taken == 0)
