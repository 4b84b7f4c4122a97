"""An engine that never comes back from a batch: users are told in time, and so is who can help."""

import asyncio

import pytest
from answers import picture, problem
from fakes import FakeEngine, Gate
from serving import eventually, sample_of, serve
from structlog.testing import capture_logs

from service.batcher import State


class Hang:
    """A fleet whose engine is inside a batch, and will be until the gate is opened."""

    def __init__(self):
        self.gate = Gate()

    def engine(self):
        return FakeEngine(tile=2, before_batch=self.gate)

    async def begin(self, client):
        asked = asyncio.create_task(client.get("/image"))
        await self.gate.reached()
        return asked


@pytest.fixture
def hang():
    hang = Hang()
    yield hang
    hang.gate.open()


async def test_who_waits_is_answered_within_the_deadline_and_nobody_else_is_let_in(hang):
    async with serve(hang.engine, deadline=2, drain_grace=0) as client:
        batched = await hang.begin(client)
        queued = [asyncio.create_task(client.get(f"/v1/faces/{n}.png")) for n in range(5)]
        for answer in await asyncio.gather(batched, *queued):
            problem(answer, 504, "deadline-passed")
        await eventually(lambda: not client.app.state.fleet.ready)
        for path in ("/readyz", "/image", "/v1/faces/9.png"):
            answer = await client.get(path)
            assert "busy with one batch" in problem(answer, 503, "not-ready")["detail"]
            assert int(answer.headers["Retry-After"]) >= 1
        sample = sample_of(client)
        assert sample("visage_ready") == 0
        assert sample("visage_requests_rejected_total", reason="deadline") == 6
        assert sample("visage_engine_busy_seconds", model="fake-16") > 2
        assert (await client.get("/healthz")).status_code == 200
        # It was only slow, after all.
        hang.gate.open()
        await eventually(lambda: client.app.state.fleet.ready)
        assert (await client.get("/readyz")).status_code == 200
        picture(await client.get("/v1/faces/9.png"))
        await eventually(lambda: sample("visage_engine_busy_seconds", model="fake-16") == 0)


async def test_after_the_watchdogs_time_only_a_new_process_helps_and_the_log_says_where_it_is(hang):
    async with serve(hang.engine, deadline=1, watchdog=60, drain_grace=0) as client:
        await (await hang.begin(client))
        assert (await client.get("/healthz")).status_code == 200
        batcher = client.app.state.fleet._served["fake-16"].batcher
        batcher.watchdog._since -= 60  # as if it had hung for so much longer
        with capture_logs() as logs:
            for _ in range(3):
                problem(await client.get("/healthz"), 503, "not-ready")
        (line,) = logs
        assert (line["event"], line["model"]) == ("engine hangs", "fake-16")
        assert "before_batch" in line["stack"]
        hang.gate.open()
        await eventually(lambda: client.app.state.fleet.ready)
        assert (await client.get("/healthz")).status_code == 200


async def test_other_models_on_the_device_are_noticed_too(hang):
    def load(folder):
        return hang.engine() if folder.name == "stuck" else FakeEngine()

    async with serve(load, checkpoints="stuck,other", deadline=1, drain_grace=0) as client:
        await (await hang.begin(client))
        problem(await client.get("/v1/faces/1.png?model=other"), 504, "deadline-passed")
        other = client.app.state.fleet._served["other"].batcher
        await eventually(lambda: not other.ready)
        problem(await client.get("/v1/faces/1.png?model=other"), 503, "not-ready")
        problem(await client.get("/readyz"), 503, "not-ready")


async def test_a_hung_engine_does_not_hold_up_the_end(hang):
    async with serve(hang.engine, deadline=1, drain_grace=0.2) as client:
        await (await hang.begin(client))
        fleet = client.app.state.fleet
        fleet.drain()
        assert not fleet.join(0.2)
        assert fleet.grace_left == 0
    assert fleet.state is State.DRAINING
