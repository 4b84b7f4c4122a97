"""One server in one process: uvicorn that drains before it stops, and what its end means.

Knows nothing about settings' sources or about other processes.
"""

import asyncio
import gc
import logging
import math
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from service.connections import Connections, most_connections
from service.engine_protocol import Engine
from service.errors import SettingsError, VisageError
from service.fleet import Fleet
from service.labels import ModelSpec
from service.settings import Settings

LAST_WORDS = 0.5
"""Seconds for requests that are on their way on open connections when the server stops."""
LAST_ANSWERS = 1
"""Seconds for answers that are ready when the grace period is over."""

SWITCH_INTERVAL = 0.0005
"""Seconds that one thread's Python may keep the others waiting: the engine's is due again after
each picture, and while it waits the device idles."""

_CLOSE = (b"connection", b"close")

log = structlog.get_logger("service")


class DrainingServer(uvicorn.Server):
    """uvicorn, but SIGTERM and Ctrl-C drain first: readiness off, queue finished, then stop.

    A second signal stops at once, and so does a model that is no good at the start.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        connections = Connections(
            patience=settings.client_timeout,
            keep_alive=settings.keep_alive,
            most=most_connections(settings.max_connections),
            most_unsent=settings.max_unsent_bytes,
            telemetry=app.state.telemetry,
            shed=app.state.shed,
        )
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",  # there are no WebSockets, and their connections would not be known
                http=connections.protocol,  # type: ignore[arg-type]  # called as a class is
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # service/clients.py decides whom to trust
                timeout_keep_alive=2 * math.ceil(settings.keep_alive),  # connections.py is first
            )
        )
        self.fleet: Fleet = app.state.fleet
        self.signalled = False
        self._grace = settings.drain_grace
        self._draining = False
        self._settled: list[ModelSpec] = []

    def handle_exit(self, *_: object) -> None:
        """Only notes the signal: a handler may interrupt anything, locks included."""
        if self.signalled:
            self.should_exit = self.force_exit = True
        self.signalled = True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if self.signalled and not self._draining:
            log.info("draining", grace=self._grace)
            self._draining = True
            self.fleet.drain()
            self.part_with_clients()
        self._tidy()
        self.should_exit |= self.fleet.start_failure is not None
        if self._draining:
            self.should_exit |= not self.fleet.grace_left or self.fleet.join(0)
        return await super().on_tick(counter)

    def _tidy(self) -> None:
        """Set aside what is loaded, or the collector would go through all of it again and again.

        That takes a tenth of a second each time, and a third of all processor time under load.
        """
        try:
            loaded = [spec for spec, _ in self.fleet.specs()]
        except VisageError:  # not ready yet, or no more
            return
        if loaded != self._settled:
            if self._settled:  # a model was replaced, and what it left behind can go
                gc.unfreeze()
                gc.collect()
            gc.freeze()
            self._settled = loaded

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody new in, answer who is in already, then stop as uvicorn does.

        uvicorn closes every connection that has not asked yet, though its request may be under way.
        """
        await self.close_door(sockets or [])
        for _ in range(round(LAST_WORDS / 0.01)):
            if not self.server_state.connections or self.force_exit:
                break
            await asyncio.sleep(0.01)
        # The grace period is one for all of it: what is computed, and who is slow to read it.
        self.config.timeout_graceful_shutdown = max(LAST_ANSWERS, math.ceil(self.fleet.grace_left))
        await super().shutdown(sockets)

    async def close_door(self, sockets: Sequence[socket.socket]) -> None:
        """Take in who has connected by now, and nobody from then on."""
        listeners = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        for listener in listeners:
            await self._accept_the_last(listener)

    async def _accept_the_last(self, listener: socket.socket) -> None:
        """Close it without those whom the system let in while we were busy: it would reset them."""
        waiting = []
        listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                waiting.append(listener.accept()[0])
        listener.close()
        for connection in waiting:
            await self.take_in(connection)

    async def take_in(self, connection: socket.socket) -> None:
        """Answer on a connection that was accepted by other means than uvicorn's."""
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for every connection."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def part_with_clients(self) -> None:
        """From now on each answer ends its connection: the next one leads to another server."""
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers.append(_CLOSE)  # this very list is every answer's

    def keep_clients(self) -> None:
        """Stop adding `Connection: close` to answers."""
        for headers in (self.config.encoded_headers, self.server_state.default_headers):
            with suppress(ValueError):
                headers.remove(_CLOSE)


def engine_loader(settings: Settings) -> Callable[[Path], Engine]:
    """What makes an engine of a checkpoint's folder, as the settings will have it."""

    def load_engine(folder: Path) -> Engine:
        # Importing torch takes seconds; here, /healthz answers meanwhile.
        from service.engine import load_engine as load

        return load(
            folder,
            kind=settings.engine,
            precision=settings.precision,
            tile=settings.tile,
            threads=settings.inference_threads,
            niceness=settings.niceness,
            critic=settings.max_best_of > 1,
        )

    return load_engine


def explain(failure: BaseException) -> str | None:
    """The sentence for whoever runs the server; None where only the log can say more."""
    from models import CheckpointError

    if isinstance(failure, (CheckpointError, SettingsError)):
        return str(failure)
    logging.getLogger("service").error("the engine could not start", exc_info=failure)
    return None
