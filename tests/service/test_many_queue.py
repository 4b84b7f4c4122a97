"""POST /v1/faces: what it asks of the queue, draining, clients that leave."""

import asyncio
import io
import json
import zipfile

import httpx
import pytest
from answers import ask, problem, unzipped
from fakes import FakeEngine, Gate
from serving import eventually, leaving, sample_of, serve
from structlog.testing import capture_logs


@pytest.mark.parametrize("layout", ["zip", "sheet"])
async def test_the_queue_never_holds_more_than_two_tiles_of_one_request(layout):
    depths: list[int] = []
    clients: list[httpx.AsyncClient] = []

    def look(size: int) -> None:
        depths.append(size + len(clients[0].app.state.fleet._served["fake-16"].queue))

    engine = FakeEngine(tile=2, before_batch=look)
    async with serve(lambda: engine, batch_wait=0) as client:
        clients.append(client)
        assert (await ask(client, count=30, layout=layout)).status_code == 200
    assert sum(engine.batches) == 30
    assert max(depths) <= 4


async def test_while_many_are_made_others_are_served_between_them():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        many = asyncio.create_task(ask(client, count=20))
        await gate.reached()
        single = asyncio.create_task(client.get("/v1/faces/7.png"))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 2)
        gate.open()
        assert (await single).status_code == 200
        assert len(engine.seen) < 20
        unzipped(await many)


async def test_a_full_queue_refuses_the_whole_request_with_a_status():
    gate = Gate()
    async with serve(lambda: FakeEngine(tile=1, before_batch=gate), queue_capacity=1) as client:
        running = asyncio.create_task(client.get("/image"))
        await gate.reached()
        waiting = asyncio.create_task(client.get("/image"))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 1)
        for layout in ("zip", "sheet"):
            answer = await ask(client, count=3, layout=layout)
            problem(answer, 503, "queue-full")
            assert "Retry-After" in answer.headers
        # The one picture that decided it; those behind it would have asked again.
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 2
        gate.open()
        await running
        await waiting


@pytest.mark.parametrize("layout", ["zip", "sheet"])
async def test_once_let_in_it_waits_for_room(layout):
    async with serve(lambda: FakeEngine(tile=4), queue_capacity=1) as client:
        assert (await ask(client, count=12, layout=layout)).status_code == 200
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 0


async def test_a_draining_server_refuses_and_says_so(client):
    client.app.state.fleet.drain()
    problem(await ask(client, count=3), 503, "draining")


async def test_a_draining_server_finishes_the_zip_it_has_begun():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=lambda size: len(engine.seen) > 2 and gate(size))
    async with serve(lambda: engine) as client:
        running = asyncio.create_task(ask(client, count=12))
        await gate.reached()
        client.app.state.fleet.drain()
        gate.open()
        unzipped(await running)


async def test_what_fails_half_way_is_no_whole_zip():
    def fail(size: int) -> None:
        if len(engine.seen) > 10:
            raise RuntimeError("broken")

    engine = FakeEngine(tile=1, before_batch=fail)
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 40}).encode()

        with capture_logs() as logs:
            stays = asyncio.Event()
            sent = await leaving(client, "/v1/faces", lambda _: stays.wait(), body=body)
        (said,) = [entry for entry in logs if entry["event"] == "answer broken off"]
        assert said["log_level"] == "warning"
        assert "exc_info" not in said
        content = b"".join(message.get("body", b"") for message in sent)
        assert sent[0]["status"] == 200
        assert sent[-1]["more_body"]
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(content))


async def begun(sent: list[dict]) -> None:
    """Once the first bytes of a body are there."""
    await eventually(lambda: any(message.get("body") for message in sent))


async def test_a_client_that_leaves_stops_the_rest():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=lambda size: len(engine.seen) > 2 and gate(size))
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 50}).encode()
        await leaving(client, "/v1/faces", begun, body=body)
        gate.open()
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 0)
        assert len(engine.seen) < 10
        assert not any(served._holders for served in client.app.state.fleet._served.values())
        unzipped(await ask(client, count=2))


async def test_a_client_that_leaves_before_the_first_picture_stops_all_of_it():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 50}).encode()
        sent = await leaving(client, "/v1/faces", lambda _: gate.reached(), body=body)
        assert sent[0]["status"] == 499
        gate.open()
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 0)
        assert len(engine.seen) == 1
        assert not any(served._holders for served in client.app.state.fleet._served.values())
