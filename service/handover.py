"""What supervisor and worker tell each other: connections on one socket, JSON lines on another.

Knows neither of the two.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

Message = dict[str, Any]
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_AT_ONCE = 64
"""Connections that are read in one go; the event loop has other things to do as well."""


@dataclass(frozen=True)
class Place:
    """What a worker is told when it is started, as one argument."""

    number: int
    """What it is called in the log; no other living one has it."""
    threads: int
    cores: tuple[int, ...]
    """To run on; empty: any."""
    models: tuple[str, ...]
    """To load beside those of the settings: they were loaded since the server began."""
    metrics: str
    """Folder of the metrics that all processes share."""
    connections: int = -1
    """Descriptor of the socket that brings connections."""
    talk: int = -1
    """Descriptor of the socket for messages, both ways."""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Place":
        fields = json.loads(text)
        return cls(**fields | {name: tuple(fields[name]) for name in ("cores", "models")})


def give(channel: socket.socket, connection: socket.socket) -> bool:
    """Pass `connection` on; False where the other side is gone or has not kept up."""
    try:
        return bool(socket.send_fds(channel, [b"+"], [connection.fileno()]))
    except OSError:
        return False


def take(channel: socket.socket) -> Iterator[socket.socket | None]:
    """Connections that were given, as many as there are now.

    None where one came to nothing, because this process has too many open. Ends with EOFError
    where no more will come.
    """
    for _ in range(_AT_ONCE):
        try:
            mark, descriptors, _, _ = socket.recv_fds(channel, 1, 1, _CLOSE_ON_EXEC)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            mark, descriptors = b"", []
        if not mark:
            raise EOFError
        if not descriptors:
            yield None
        for descriptor in descriptors:
            yield socket.socket(fileno=descriptor)


def line(message: Message) -> bytes:
    """As it is sent."""
    return json.dumps(message).encode() + b"\n"


def last_line(channel: socket.socket, message: Message) -> None:
    """Send where no event loop runs any more; nobody may be there to hear it."""
    with suppress(OSError):
        channel.setblocking(True)
        channel.sendall(line(message))
