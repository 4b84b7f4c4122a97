"""The whole app over a fake engine, spoken to in-process, without a socket."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fakes import FakeEngine

from service.app import create_app
from service.batcher import State
from service.engine_protocol import Engine
from service.settings import Settings


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail after far longer than it can take."""
    async with asyncio.timeout(20):
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serve(
    load_engine: Callable[..., Engine] = FakeEngine,
    *,
    until: State | None = State.READY,
    **settings: object,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running app, waited for until it is in the state `until`.

    `client.app` is the app, `client.state` what its lifespan hands to every request.

    `load_engine` takes the folder, or nothing. There is no reservoir unless a setting says so:
    what the engine does is then only what the test asks for.
    """
    takes_folder = bool(inspect.signature(load_engine).parameters) and load_engine is not FakeEngine
    load = load_engine if takes_folder else lambda _: load_engine()
    fields = {"drain_grace": 5, "reservoir": 0, "checkpoints": "fake-16"} | settings
    app = create_app(Settings(**fields), load)
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(_with_state(app, state), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://visage") as client:
            client.app, client.state = app, state  # type: ignore[attr-defined]
            if until is not None:
                await eventually(lambda: app.state.fleet.state is until)
            yield client


async def leaving(
    client: httpx.AsyncClient,
    path: str,
    when: Callable[[list[dict]], Awaitable[object]],
    *,
    body: bytes | None = None,
) -> list[dict]:
    """Ask for `path` as an ASGI server does, and disconnect once `when` returns: what was sent.

    `when` is given what has been sent so far. Where there is a body, that is posted as JSON.
    """
    requests = [] if body is None else [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict] = []

    async def receive():
        if requests:
            return requests.pop()
        await when(sent)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    route, _, query = path.partition("?")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body or b"")),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": route,
        "raw_path": route.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [] if body is None else headers,
    }
    await client._transport.app(scope, receive, send)
    return sent


def _with_state(app, state):
    """What a server does with the lifespan's state."""

    async def asgi(scope, receive, send):
        await app({**scope, "state": dict(state)}, receive, send)

    return asgi


def sample_of(client: httpx.AsyncClient) -> Callable[..., float]:
    """Reads the value of one series of the client's app; 0 where it does not exist yet."""
    registry = client.app.state.telemetry.registry  # type: ignore[attr-defined]
    return lambda name, **labels: registry.get_sample_value(name, labels) or 0.0
