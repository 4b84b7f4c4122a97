"""Refusals that the app never hears of, over real sockets: the same answers, and no others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count

import pytest
from fakes import FakeEngine
from flooding import FACE, Answer, Flooded, flooded, wire
from serving import eventually

from service.addresses import Seen
from service.app import create_app
from service.settings import Settings


@pytest.fixture
async def server() -> AsyncIterator[Flooded]:
    async with flooded() as rig:
        yield rig


@pytest.mark.parametrize("path", [FACE.format(9), "/v1/faces/nine?gender=female", "/image"])
async def test_the_answer_is_the_one_the_app_would_give(server, path):
    waiting = await server.flood()
    name = {"X_Request_Id": "mine.1"}
    past = await server.ask(path, **name)
    through = await server.ask(path, If_None_Match='"none"', **name)
    assert server.shed == [True, False]
    assert past.status == through.status == 503
    assert past["retry-after"] == through["retry-after"]
    assert sorted(past.headers) == sorted(through.headers)
    assert past.body == through.body
    assert past["x-request-id"] == "mine.1"
    assert (await server.ask(path))["x-request-id"] != (await server.ask(path))["x-request-id"]
    server.gate.open()
    assert {(await task).status for task in waiting} == {200}
    assert (await server.ask(path)).status == 200


async def test_who_come_together_do_not_pass_for_the_same_place():
    async with flooded(queue_capacity=8) as server:
        server.gate.shut()
        first = asyncio.create_task(server.ask(FACE.format(1)))
        await eventually(server.gate.arrived.is_set)
        server.shed.clear()
        crowd = [asyncio.create_task(server.ask(FACE.format(n))) for n in range(100, 160)]
        await eventually(lambda: len(server.shed) == 60)
        await eventually(lambda: sum(task.done() for task in crowd) == server.shed.count(True))
        server.gate.open()
        answers = [(await task).status for task in crowd]
        assert answers.count(503) == server.shed.count(True)  # the app had to refuse none of them
        assert 8 <= answers.count(200) <= 12
        assert (await first).status == 200


async def test_who_asks_for_the_same_shares_a_place():
    async with flooded(queue_capacity=8) as server:
        server.gate.shut()
        first = asyncio.create_task(server.ask(FACE.format(1)))
        await eventually(server.gate.arrived.is_set)
        crowd = [asyncio.create_task(server.ask(FACE.format(2))) for _ in range(60)]
        await eventually(lambda: len(server.shed) >= 61)
        server.gate.open()
        assert {(await task).status for task in [first, *crowd]} == {200}


async def test_an_address_that_was_answered_is_known_for_long(server):
    await server.ask(FACE.format(5))
    state = server.server.lifespan.state
    state["seen"] = Seen()
    hit = await server.ask(FACE.format(5))
    assert hit["x-cache"] == "hit"
    assert (FACE.format(5), b"") in state["seen"]


async def test_refusals_are_counted_as_ever(server):
    await server.flood()
    before = server.rejected("queue_full")
    labels = {"route": "/v1/faces/{seed}", "method": "GET", "code": "503"}
    for seed in (7, 8, 9):
        await server.ask(FACE.format(seed))
    assert server.shed == [True] * 3
    assert server.rejected("queue_full") == before + 3
    assert server.sample("visage_http_requests_total", **labels) == 3
    timed = server.sample("visage_http_request_duration_seconds_count", route="/v1/faces/{seed}")
    assert timed == 3


async def test_what_needs_no_engine_is_answered(server):
    made = await server.ask(FACE.format(5))
    assert made.status == 200
    waiting = await server.flood()
    assert (await server.ask(FACE.format(5))).body == made.body
    assert (await server.ask(FACE.format(5), If_None_Match=made["etag"])).status == 304
    assert (await server.ask(FACE.format(99), If_None_Match="*")).status == 304
    assert (await server.ask(FACE.format(99), method="HEAD")).status == 200
    assert (await server.ask("/v1/faces/random")).status == 302
    assert (await server.ask("/healthz")).status == 200
    joins = asyncio.create_task(server.ask(FACE.format(1)))  # which the engine is making
    await asyncio.sleep(0.05)
    server.gate.open()
    assert (await joins).body == (await waiting[0]).body
    assert not any(server.shed)


async def test_an_address_is_known_by_all_lines_of_its_accept_header(server):
    path, accept = "/v1/faces/5", {"Accept": "text/html\r\nAccept: image/webp"}
    made = await server.ask(path, **accept)
    assert made["content-type"] == "image/webp"
    assert (await server.ask(path, **accept))["x-cache"] == "hit"
    server.server.lifespan.state["seen"] = Seen()
    await server.flood()
    assert (await server.ask(path, **accept)).body == made.body
    assert not any(server.shed)


@pytest.mark.parametrize("query", ["model=other-16", "%6Dodel=other-16", "MODEL=other-16"])
async def test_another_model_has_room_of_its_own(query):
    async with flooded(checkpoints="fake-16,other-16") as server:
        await server.flood()
        other = asyncio.create_task(server.ask(f"/v1/faces/9.png?{query}"))
        await eventually(lambda: bool(server.shed))
        assert (await server.ask("/v1/faces/9.png?model=fake-16")).status == 503
        server.gate.open()  # one device computes for both
        assert (await other)["x-model"].startswith("other-16@")
        assert server.shed == [False, False]


async def test_pipelined_requests_are_answered_in_order(server):
    await server.flood()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    asked = [
        ("/healthz", 200) if n in (3, 2999) else (FACE.format(100 + n), 503) for n in range(3000)
    ]
    parts = [wire(path, X_Request_Id=str(n)) for n, (path, _) in enumerate(asked)]
    writer.write(b"".join(parts))
    for n, (_, status) in enumerate(asked):
        answer = await Answer.read(reader)
        assert (answer.status, answer["x-request-id"]) == (status, str(n))
    writer.close()


async def test_who_reads_no_answers_gets_no_more(server):
    await server.flood()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", server.port))
        numbers = count(10)

        async def ask() -> None:
            await loop.sock_sendall(client, wire(FACE.format(next(numbers))))
            for _ in range(5):  # the server shares this loop, and reads it alone
                await asyncio.sleep(0)

        await ask()
        ours = client.getsockname()
        connections = server.server.server_state.connections
        await eventually(lambda: any(c.client == ours for c in connections))
        [connection] = [c for c in connections if c.client == ours]
        async with asyncio.timeout(60):
            while not connection.flow.write_paused:
                heard = len(server.shed)
                await ask()
                # One for each read: what comes by the same is the app's.
                for _ in iter(lambda: len(server.shed) > heard, True):  # noqa: B023
                    await asyncio.sleep(0)
        refused = server.shed.count(True)
        with suppress(TimeoutError):  # in the end it reads no requests either
            async with asyncio.timeout(3):
                for _ in range(500):
                    await ask()
        assert server.shed.count(True) == refused
        assert 0 < connection.unsent < 2**18
        assert (await server.ask(FACE.format(9))).status == 503


async def test_a_request_with_a_body_or_a_farewell_goes_on_to_the_app(server):
    await server.flood()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(wire(FACE.format(9), Content_Length="3") + b"abc" + wire("/healthz"))
    assert (await Answer.read(reader)).status == 503
    assert (await Answer.read(reader)).status == 200
    writer.write(wire(FACE.format(9), Connection="close"))
    assert (await Answer.read(reader)).status == 503
    assert await reader.read() == b""
    writer.close()
    assert not any(server.shed)


async def test_who_was_refused_rests_like_anybody_who_was_answered():
    async with flooded(keep_alive=1, client_timeout=600) as server:
        await server.flood()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(wire(FACE.format(9)))
        assert (await Answer.read(reader)).status == 503
        resting = [c for c in server.server.server_state.connections if c.answered]
        assert [c in c._all._resting and c not in c._all._silent for c in resting] == [True]
        writer.close()


async def test_a_refusal_s_patience_ends_with_the_next_request():
    async with flooded(keep_alive=1) as server:
        asked = await server.flood()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(wire(FACE.format(9)) + wire(FACE.format(1)))  # which is in the making
        assert (await Answer.read(reader)).status == 503
        await asyncio.sleep(2.5)  # uvicorn's own patience is twice the one that is set
        server.gate.open()
        assert (await Answer.read(reader)).body == (await asked[0]).body
        assert server.shed == [True]  # one for each read
        writer.close()


async def test_an_upgrade_is_refused_like_anything_else_and_its_connection_known(server):
    await server.flood()
    upgrade = {"Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "a" * 24}
    answer = await server.ask(FACE.format(9), Connection="keep-alive, Upgrade", **upgrade)
    assert answer.status == 503
    server.gate.open()
    await eventually(lambda: server.sample("visage_connections") == 0)


async def test_an_address_that_is_too_long_is_told_so():
    async with flooded(max_url_bytes=256) as server:
        await server.flood()
        assert (await server.ask(FACE.format("%C3%A9" * 60))).status == 414
        assert (await server.ask(FACE.format("%C3%A9" * 30))).status == 503
        assert server.shed == [False, True]


async def test_with_redis_only_what_no_replica_can_have_is_shed():
    async with flooded(redis_url="redis://localhost:1") as server:
        waiting = await server.flood()
        fresh, seeded = await server.ask("/image"), await server.ask(FACE.format(99))
        assert (fresh.status, seeded.status) == (503, 503)
        assert server.shed == [True, False]
        server.gate.open()
        assert {(await task).status for task in waiting} == {200}


@pytest.mark.parametrize(
    "settings",
    [
        {"access_log": True},
        {"tracing": True},
        {"redis_url": "redis://localhost:1", "rate_limit": "9/minute"},
    ],
)
def test_who_must_be_read_first_is_never_shed(settings):
    app = create_app(Settings(checkpoints="fake-16", **settings), lambda _: FakeEngine())
    assert app.state.shed is None


def test_the_last_addresses_are_known_for_certain():
    seen = Seen(slots=2**12)
    for number in range(10_000):
        seen.add((f"/v1/faces/{number}", b""))
        assert (f"/v1/faces/{max(0, number - 400)}", b"") in seen
    others = sum((f"/v1/faces/{number}", b"gender=male") in seen for number in range(1000))
    assert 0 < others < 250
