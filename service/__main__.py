"""Composition root: settings + engine → app → uvicorn. `python -m service`

Exit codes: 0 after a drained stop, 1 when the engine could not start for a reason of its own,
2 for settings, addresses and checkpoints that are not usable (one sentence on stderr).
"""

import asyncio
import gc
import logging
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog
import uvicorn

from service.app import create_app
from service.batcher import Engine
from service.connections import Connections, most_connections
from service.errors import SettingsError, VisageError
from service.fleet import Fleet
from service.labels import ModelSpec
from service.settings import Settings, load_settings
from service.telemetry import configure_logging

LAST_WORDS = 0.5
"""Seconds for requests that are on their way on open connections when the server stops."""

SWITCH_INTERVAL = 0.0005
"""Seconds that one thread's Python may keep the others waiting: the engine's is due again after
each picture, and while it waits the device idles."""

log = structlog.get_logger("service")


class DrainingServer(uvicorn.Server):
    """uvicorn, but SIGTERM and Ctrl-C drain first: readiness off, queue finished, then stop.

    A second signal stops at once, and so does a model that is no good at the start.
    """

    def __init__(self, config: uvicorn.Config, fleet: Fleet, grace: float) -> None:
        super().__init__(config)
        self._fleet = fleet
        self._grace = grace
        self._signalled = False
        self._drain_until: float | None = None
        self._settled: list[ModelSpec] = []

    def handle_exit(self, *_: object) -> None:
        """Only notes the signal: a handler may interrupt anything, locks included."""
        if self._signalled:
            self.should_exit = self.force_exit = True
        self._signalled = True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if self._signalled and self._drain_until is None:
            log.info("draining", grace=self._grace)
            self._drain_until = time.monotonic() + self._grace
            self._fleet.drain()
            self._part_with_clients()
        self._tidy()
        self.should_exit |= self._fleet.start_failure is not None
        if self._drain_until is not None:
            overdue = time.monotonic() >= self._drain_until
            self.should_exit |= overdue or self._fleet.join(0)
        return await super().on_tick(counter)

    def _tidy(self) -> None:
        """Set aside what is loaded, or the collector would go through all of it again and again.

        That takes a tenth of a second each time, and a third of all processor time under load.
        """
        try:
            loaded = [spec for spec, _ in self._fleet.specs()]
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
        listeners = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        for listener in listeners:
            await self._accept_the_last(listener)
        for _ in range(round(LAST_WORDS / 0.01)):
            if not self.server_state.connections or self.force_exit:
                break
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    async def _accept_the_last(self, listener: socket.socket) -> None:
        """Close it without those whom the system let in while we were busy: it would reset them."""
        waiting = []
        listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                waiting.append(listener.accept()[0])
        listener.close()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for every connection."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _part_with_clients(self) -> None:
        """From now on each answer ends its connection: the next one leads to another server."""
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)
        self.server_state.default_headers.append(close)  # this very list is every answer's


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop; its exit code."""
    try:
        settings = load_settings(sys.argv[1:] if arguments is None else arguments)
    except SettingsError as error:
        return _refuse(str(error))
    sys.setswitchinterval(SWITCH_INTERVAL)
    configure_logging(level=settings.log_level, style=settings.log_format)
    try:
        listener = _listen(settings)
    except OSError as error:
        return _refuse(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}): "
            "set VISAGE_HOST or VISAGE_PORT to an address that is free"
        )

    def load_engine(folder: Path) -> Engine:
        # Importing torch takes seconds; here, /healthz answers meanwhile.
        from service.engine import load_engine as load

        return load(
            folder,
            kind=settings.engine,
            precision=settings.precision,
            tile=settings.tile,
            threads=settings.inference_threads,
        )

    try:
        app = create_app(settings, load_engine)
    except SettingsError as error:
        listener.close()
        return _refuse(str(error))
    fleet: Fleet = app.state.fleet
    connections = Connections(
        patience=settings.client_timeout,
        most=most_connections(settings.max_connections),
        most_unsent=settings.max_unsent_bytes,
        telemetry=app.state.telemetry,
    )
    connections.bind(listener)
    server = DrainingServer(
        uvicorn.Config(
            app,
            http=connections.protocol,  # type: ignore[arg-type]  # called as a class is
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # service/clients.py decides whom to trust
            timeout_graceful_shutdown=max(1, round(settings.drain_grace)),
        ),
        fleet,
        settings.drain_grace,
    )
    host, port = listener.getsockname()[:2]
    log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    server.run(sockets=[listener])
    if fleet.start_failure is not None:
        return _explain(fleet.start_failure)
    log.info("stopped")
    return 0


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


def _explain(failure: BaseException) -> int:
    from models import CheckpointError

    if isinstance(failure, (CheckpointError, SettingsError)):
        return _refuse(str(failure))
    logging.getLogger("service").error("the engine could not start", exc_info=failure)
    return 1


def _refuse(sentence: str) -> int:
    print(f"visage: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
