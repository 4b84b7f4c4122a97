"""Refusals that the app never hears of, over real sockets: the same answers, and no others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fakes import FakeEngine, Gate, face_spec
from serving import eventually

from service.addresses import Seen
from service.app import create_app
from service.server import DrainingServer
from service.settings import Settings

FACE = "/v1/faces/{}.png"


class Flooded:
    """A server whose queue has one place; `flood` takes it."""

    def __init__(self, gate: Gate, server: DrainingServer, port: int) -> None:
        self.gate, self.server, self.port = gate, server, port
        self.shed: list[bool] = []

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> "Answer":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(wire(path, method=method, **headers))
            return await Answer.read(reader, method)
        finally:
            writer.close()

    def sample(self, name: str, **labels: str) -> float:
        registry = self.server.fleet._telemetry.registry
        return registry.get_sample_value(name, labels) or 0.0

    def rejected(self, reason: str) -> float:
        return self.sample("visage_requests_rejected_total", reason=reason)

    async def flood(self, **headers: str) -> list[asyncio.Task]:
        """Seeds 1, 2, … until the engine has as many as it takes, and the queue has one."""
        self.gate.shut()
        asked = [asyncio.create_task(self.ask(FACE.format(1), **headers))]
        await eventually(self.gate.arrived.is_set)
        queue = self.server.fleet.default_served.queue
        while not len(queue):
            seed = len(asked) + 1
            asked.append(asyncio.create_task(self.ask(FACE.format(seed), **headers)))
            await eventually(lambda: bool(len(queue)))
            await asyncio.sleep(0.05)
        self.shed.clear()
        return asked


class Answer:
    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name: str) -> str:
        return dict(self.headers)[name]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader, method: str = "GET") -> "Answer":
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = [tuple(line.split(": ", 1)) for line in head[1:]]
            length = int(dict(headers).get("content-length", 0))
            body = b"" if method == "HEAD" else await reader.readexactly(length)
        return cls(int(head[0].split()[1]), headers, body)


def wire(path: str, *, method: str = "GET", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{''.join(lines)}\r\n".encode()


class Reopened(Gate):
    """Open at first, and whenever it is not shut."""

    def __init__(self) -> None:
        super().__init__()
        self.open()

    def shut(self) -> None:
        self.arrived.clear()
        self._open.clear()


@asynccontextmanager
async def flooded(**settings: object) -> AsyncIterator[Flooded]:
    gate = Reopened()

    def load(folder):
        calm = folder.name != "fake-16"
        spec = face_spec(name=folder.name, digest=("b" if calm else "a") * 64)
        return FakeEngine(spec, tile=1) if calm else FakeEngine(spec, tile=1, before_batch=gate)

    fields = {"drain_grace": 5, "reservoir": 0, "checkpoints": "fake-16", "queue_capacity": 1}
    settings = Settings(**fields | settings)
    app = create_app(settings, load)
    shed, heard = app.state.shed, []

    def listening(scope, headers):
        answer = shed(scope, headers)
        heard.append(answer is not None)
        return answer

    app.state.shed = listening
    server = DrainingServer(app, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        rig = Flooded(gate, server, listener.getsockname()[1])
        rig.shed = heard
        await eventually(lambda: server.started and server.fleet.ready)
        try:
            yield rig
        finally:
            gate.open()
            server.should_exit = True
            await task


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
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                for number in range(12_000):
                    await loop.sock_sendall(client, wire(FACE.format(10 + number)))
                    for _ in range(5):  # the server shares this loop, and reads it alone
                        await asyncio.sleep(0)
        connections = server.server.server_state.connections
        assert 0 < max(connection.unsent for connection in connections) < 2**18
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


async def test_strangers_are_told_so_before_anything():
    keys = {"api_keys": "alpha", "api_key_required": True}
    async with flooded(**keys) as server:
        ours = {"X_Api_Key": "alpha"}
        await server.flood(**ours)
        for strange in ({}, {"X_Api_Key": "beta"}):
            assert (await server.ask(FACE.format(9), **strange)).status == 401
        assert (await server.ask(FACE.format(9), **ours)).status == 503
        assert server.shed == [False, False, True]


async def test_who_is_refused_is_counted_once_and_told_what_is_left():
    async with flooded(rate_limit="9/day") as server:
        waiting = await server.flood()
        left = 9 - len(waiting)
        past = await server.ask(FACE.format(50), X_Request_Id="a")
        through = await server.ask(FACE.format(50), If_None_Match='"none"', X_Request_Id="a")
        assert server.shed == [True, False]
        for answer, remaining in ((past, left - 1), (through, left - 2)):
            assert answer.status == 503
            assert answer["ratelimit"].startswith(f'"pictures";r={remaining};')
        assert sorted(name for name, _ in past.headers) == sorted(n for n, _ in through.headers)
        assert past["ratelimit-policy"] == through["ratelimit-policy"]
        assert past["retry-after"] == through["retry-after"]
        assert past.body == through.body


async def test_an_address_that_is_too_long_is_told_so():
    async with flooded(max_url_bytes=256) as server:
        await server.flood()
        assert (await server.ask(FACE.format("%C3%A9" * 60))).status == 414
        assert (await server.ask(FACE.format("%C3%A9" * 30))).status == 503
        assert server.shed == [False, True]


async def test_whose_quota_is_used_up_is_told_that_and_not_that_there_is_no_room():
    async with flooded(rate_limit="4/day") as server:
        waiting = await server.flood()
        for _ in range(4 - len(waiting)):
            assert (await server.ask(FACE.format(50))).status == 503
        server.shed.clear()
        full = server.rejected("queue_full")
        assert (await server.ask(FACE.format(50))).status == 429
        assert server.shed == [False]
        assert server.rejected("queue_full") == full
        assert server.rejected("rate_limit") == 1


@pytest.mark.parametrize(
    ("settings", "one", "other"),
    [
        ({"api_keys": "alpha,beta"}, {"X_Api_Key": "alpha"}, {"X_Api_Key": "beta"}),
        (
            {"trusted_proxies": "127.0.0.1/32"},
            {"X_Forwarded_For": "203.0.113.1"},
            {"X_Forwarded_For": "203.0.113.2"},
        ),
    ],
)
async def test_a_refusal_is_at_the_cost_of_who_asked(settings, one, other):
    async with flooded(rate_limit="9/day", **settings) as server:
        await server.flood()
        for left in (8, 7, 6):
            assert (await server.ask(FACE.format(50), **one))["ratelimit"][13] == str(left)
        assert (await server.ask(FACE.format(50), **other))["ratelimit"][13] == "8"
        assert server.shed == [True] * 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"api_keys": "alpha", "api_key_required": True}, 401),
        ({"api_keys": "alpha", "rate_limit": "2/day"}, 429),
    ],
)
async def test_whom_the_app_turns_away_takes_nobody_s_place(settings, told):
    async with flooded(queue_capacity=8, **settings) as server:
        ours = {"X_Api_Key": "alpha"}
        if told == 429:
            for seed in (90, 91):
                assert (await server.ask(FACE.format(seed))).status == 200
        server.gate.shut()
        first = asyncio.create_task(server.ask(FACE.format(1), **ours))
        await eventually(server.gate.arrived.is_set)
        server.shed.clear()
        crowd = [asyncio.create_task(server.ask(FACE.format(n))) for n in range(100, 160)]
        await eventually(lambda: len(server.shed) > 8)
        last = asyncio.create_task(server.ask(FACE.format(2), **ours))
        assert {(await task).status for task in crowd} == {told}
        server.gate.open()
        assert [(await task).status for task in (first, last)] == [200, 200]
        assert (FACE.format(100), b"") not in server.server.lifespan.state["seen"]


async def test_a_choice_is_left_to_the_app_which_knows_what_it_costs():
    async with flooded(rate_limit="9/day") as server:
        await server.flood()
        assert (await server.ask(FACE.format(50) + "?best_of=2")).status == 422  # without a critic
        assert server.shed == [False]


@pytest.mark.parametrize(
    "settings",
    [
        {"access_log": True},
        {"tracing": True},
        {"redis_url": "redis://localhost:1"},
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
