"""A server over real sockets whose engine stands still and whose queue is full."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fakes import FakeEngine, Gate, face_spec
from serving import eventually

from service.app import create_app
from service.server import DrainingServer
from service.settings import Settings

FACE = "/v1/faces/{}.png"


class Flooded:
    """A server whose queue has one place; `flood` takes it."""

    def __init__(
        self, gate: Gate, server: DrainingServer, port: int, task: "asyncio.Task[None]"
    ) -> None:
        self.gate, self.server, self.port, self.task = gate, server, port, task
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
        rig = Flooded(gate, server, listener.getsockname()[1], task)
        rig.shed = heard
        await eventually(lambda: server.started and server.fleet.ready)
        try:
            yield rig
        finally:
            gate.open()
            server.should_exit = True
            await task
