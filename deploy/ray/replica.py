"""One replica: the whole service as the ASGI app that Ray Serve runs in each of its actors.

Knows nothing about Ray. What a server of our own would do around the app is done here: no traffic
before the engine is warm, the lifespan's state for every request, and a port of the replica's own,
where /metrics and the admin routes are those of this replica and of no other.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.app import create_app
from service.batcher import State
from service.errors import SettingsError
from service.fleet import Fleet, LoadEngine
from service.settings import Settings

SWITCH_INTERVAL = 0.0005
"""Seconds, as in `service.__main__`: the engine's thread is due again after each picture."""
PORTS = 32
"""Ports tried from `settings.port` on: replicas of one node, and those that are leaving it."""

log = structlog.get_logger("deploy.ray")


class ReplicaApp:
    """ASGI. `check_health` raises while this replica cannot serve."""

    # Ray looks for routes to name each request's in its own metrics; the service has better ones,
    # and matching twice would cost what the service saves by not matching at all.
    routes = ()
    router = SimpleNamespace(redirect_slashes=False)

    def __init__(self, settings: Settings, load_engine: LoadEngine) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        app = create_app(settings, load_engine)
        self._app: ASGIApp = app
        self._fleet: Fleet = app.state.fleet
        self._settings = settings
        self._state: dict[str, object] = {}
        self.port: int | None = None
        """Its own, once it is warm."""

    def check_health(self) -> None:
        """Raises the reason why pictures cannot be had from here."""
        self._fleet.check_ready()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        await self._app({**scope, "state": dict(self._state)}, receive, _without_id(send))

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's own, but it has started only when it is warm; raises where it never will be."""
        self._state = scope.setdefault("state", {})  # the app fills it
        async with contextlib.AsyncExitStack() as port:

            async def send_when_so(message: Message) -> None:
                if message["type"] == "lifespan.startup.complete":
                    await self._warm()
                    await port.enter_async_context(self._own_port())
                elif message["type"] == "lifespan.shutdown.complete":
                    await port.aclose()
                await send(message)

            await self._app(scope, receive, send_when_so)

    async def _warm(self) -> None:
        for _ in iter(lambda: self._fleet.state in (State.LOADING, State.WARMING_UP), False):
            await asyncio.sleep(0.02)
        if self._fleet.start_failure is not None:
            raise self._fleet.start_failure
        self.check_health()

    @contextlib.asynccontextmanager
    async def _own_port(self) -> AsyncIterator[None]:
        listener = _first_free(self._settings.host, self._settings.port)
        self.port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                self, lifespan="off", access_log=False, log_config=None, proxy_headers=False
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        log.info("listening", host=self._settings.host, port=self.port)
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await serving


class _Server(uvicorn.Server):
    """Leaves signals to Ray, in whose process it is a guest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _first_free(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + PORTS) if port else [0]:
        with contextlib.suppress(OSError):
            return socket.create_server((host, candidate), family=family)
    raise SettingsError(
        f"none of the ports {port} to {port + PORTS - 1} of {host} is free for this replica: "
        "set VISAGE_PORT to where there are some"
    )


def _without_id(send: Send) -> Send:
    """Ray echoes X-Request-ID itself, the one that it has given to the app."""

    async def send_rest(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [header for header in message["headers"] if header[0] != b"x-request-id"]
            message = {**message, "headers": headers}
        await send(message)

    return send_rest
