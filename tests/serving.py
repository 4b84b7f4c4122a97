"""The whole app over a fake engine, spoken to in-process, without a socket."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
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


def _with_state(app, state):
    """What a server does with the lifespan's state."""

    async def asgi(scope, receive, send):
        await app({**scope, "state": dict(state)}, receive, send)

    return asgi


def sample_of(client: httpx.AsyncClient) -> Callable[..., float]:
    """Reads the value of one series of the client's app; 0 where it does not exist yet."""
    registry = client.app.state.telemetry.registry  # type: ignore[attr-defined]
    return lambda name, **labels: registry.get_sample_value(name, labels) or 0.0
