"""Composition root: settings + engine → app → uvicorn, or several such. `python -m service`

Exit codes: 0 after a drained stop, 1 when the engine could not start for a reason of its own,
2 for settings, addresses and checkpoints that are not usable (one sentence on stderr).
"""

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import structlog

from service.errors import SettingsError
from service.log_setup import configure_logging
from service.settings import Settings, load_settings

LEFT_TO_THE_SYSTEM = 2**17
"""Bytes of an answer that the system buffers beyond what is on its way; by itself it takes 4 MiB
for each connection, which no bound of ours would see."""

log = structlog.get_logger("service")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop; its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        settings = load_settings(given)
    except SettingsError as error:
        return _refuse(str(error))
    configure_logging(level=settings.log_level, style=settings.log_format)
    try:
        listener = _listen(settings)
    except OSError as error:
        return _refuse(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}): "
            "set VISAGE_HOST or VISAGE_PORT to an address that is free"
        )
    with listener:
        _bound(listener, settings.client_timeout)
        if settings.processes == 1:
            return _serve(settings, listener)
        return _supervise(settings, given, listener)


def _serve(settings: Settings, listener: socket.socket) -> int:
    """One server, in this process."""
    from service.app import create_app
    from service.server import DrainingServer, engine_loader, explain

    try:
        app = create_app(settings, engine_loader(settings))
    except SettingsError as error:
        return _refuse(str(error))
    server = DrainingServer(app, settings)
    log.info("listening", url=_url(listener))
    server.run(sockets=[listener])
    if server.fleet.start_failure is not None:
        sentence = explain(server.fleet.start_failure)
        return 1 if sentence is None else _refuse(sentence)
    log.info("stopped")
    return 0


def _supervise(settings: Settings, arguments: Sequence[str], listener: socket.socket) -> int:
    """Several servers behind one address, each in a process of its own; none here."""
    from service.shares import shares_of
    from service.supervisor import Supervisor

    try:
        shares = shares_of(settings)
    except SettingsError as error:
        return _refuse(str(error))
    if len(shares) == 1:  # auto, and there are no devices to share out
        return _serve(settings, listener)
    log.info("listening", url=_url(listener), processes=len(shares))
    end = Supervisor(settings, arguments, listener, shares).run()
    if end.sentence is not None:
        _refuse(end.sentence)
    else:
        log.info("stopped")
    return end.code


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


def _bound(listener: socket.socket, patience: float) -> None:
    """Have the system keep the bounds of connections.py too, whoever accepts from `listener`."""
    with suppress(AttributeError, OSError):  # where it knows them
        tcp, milliseconds = socket.IPPROTO_TCP, round(2000 * patience)
        listener.setsockopt(tcp, socket.TCP_NOTSENT_LOWAT, LEFT_TO_THE_SYSTEM)
        # For what is left after we have closed; until then, we are first.
        listener.setsockopt(tcp, socket.TCP_USER_TIMEOUT, milliseconds)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _refuse(sentence: str) -> int:
    print(f"visage: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
