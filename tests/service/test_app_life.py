"""A server that loads, drains, fails or is asked for too much, on a fake engine."""

import asyncio
import threading

from answers import picture, problem
from fakes import FakeEngine, Gate
from serving import eventually, leaving, sample_of, serve

from service.batcher import State


async def test_while_loading_the_process_is_alive_but_not_ready():
    loaded = threading.Event()

    def load():
        loaded.wait(20)
        return FakeEngine()

    async with serve(load, until=None) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        for path in ("/readyz", "/image", "/v1/faces/7.png", "/v1/models", "/v1/models/x"):
            answer = await client.get(path)
            assert "loading" in problem(answer, 503, "not-ready")["detail"]
            assert answer.headers["Retry-After"] == "1"
        assert (await client.get("/")).status_code == 200
        assert sample_of(client)("visage_ready") == 0
        loaded.set()
        await eventually(lambda: client.app.state.fleet.ready)
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert sample_of(client)("visage_ready") == 1


async def test_a_dead_engine_shows_in_readyz_but_the_process_lives():
    def load():
        raise RuntimeError("no device")

    async with serve(load, until=State.FAILED) as client:
        assert "no device" in problem(await client.get("/readyz"), 503, "not-ready")["detail"]
        assert (await client.get("/healthz")).status_code == 200


async def test_a_picture_that_cannot_be_computed_is_500():
    failing = iter([True, True, False])

    def twice(size):
        if next(failing):
            raise RuntimeError("secret detail")

    async with serve(lambda: FakeEngine(before_batch=twice)) as client:
        answer = await client.get("/image")
        problem(answer, 500, "inference-failed")
        assert "secret detail" not in answer.text
        picture(await client.get("/image"))


async def test_a_full_queue_is_503_with_retry_after():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine, queue_capacity=1) as client:
        running = asyncio.create_task(client.get("/image"))
        await gate.reached()
        waiting = asyncio.create_task(client.get("/image"))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 1)
        answer = await client.get("/image")
        problem(answer, 503, "queue-full")
        assert int(answer.headers["Retry-After"]) >= 1
        gate.open()
        picture(await running)
        picture(await waiting)


async def test_a_passed_deadline_is_504():
    gate = Gate()
    async with serve(lambda: FakeEngine(before_batch=gate), deadline=0.05) as client:
        problem(await client.get("/image"), 504, "deadline-passed")
        gate.open()


async def test_a_client_that_leaves_takes_its_work_along():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        sample = sample_of(client)
        running = asyncio.create_task(client.get("/image"))
        await gate.reached()

        async def queued(_: object) -> None:
            await eventually(lambda: sample("visage_queue_depth", model="fake-16") == 1)

        sent = await leaving(client, "/image", queued)
        assert sent[0]["status"] == 499
        assert sample("visage_requests_cancelled_total", stage="queued") == 1
        assert sample("visage_http_requests_total", route="/image", method="GET", code="499") == 1
        assert sample("visage_queue_depth", model="fake-16") == 0
        gate.open()
        picture(await running)
        assert engine.batches == [1]


async def test_draining_finishes_what_was_accepted_and_refuses_the_rest():
    gate = Gate()
    async with serve(lambda: FakeEngine(tile=1, before_batch=gate)) as client:
        running = asyncio.create_task(client.get("/image"))
        await gate.reached()
        waiting = asyncio.create_task(client.get("/image"))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 1)
        client.app.state.fleet.drain()
        for path in ("/readyz", "/image"):
            answer = await client.get(path)
            problem(answer, 503, "draining")
            assert "Retry-After" in answer.headers
        assert (await client.get("/healthz")).status_code == 200
        gate.open()
        picture(await running)
        picture(await waiting)
        assert sample_of(client)("visage_requests_rejected_total", reason="draining") == 1
