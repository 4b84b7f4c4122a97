"""How long clients may keep the server waiting, and how much of it: bounds on open connections.

Knows nothing about requests. uvicorn waits for ever for a request that does not come or does not
end, and keeps for ever what a client does not take in. Here one who sends no whole request for
`patience` seconds is closed, and so is one who takes in less than `PROGRESS` of an answer in that
time. Who has been answered and wants nothing more may stay for `keep_alive` seconds. Where there
are too many connections, the one that has been silent for longest makes room; where too much is
unsent, the one that has been reading for longest. Belongs to the event loop.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from service.telemetry import Telemetry
from service.wire import BoundedHttpProtocol, Shed

PROGRESS = 2**16
"""Bytes of an answer that a client must take in within `patience` seconds."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing discards what was not sent."""
RESERVED_FILES = 256
"""Descriptors that are kept for all but clients: files, pipes, Redis."""


def most_connections(wanted: int) -> int:
    """`wanted`, or as many as the system lets this process have; asks for as many as it may.

    Shells and service managers begin with 1024 for the sake of programs that use `select`.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, hard - RESERVED_FILES))


class Connections:
    """All that are open. `protocol` is what uvicorn is to make for each.

    `most`: connections at a time; `most_unsent`: bytes of answers that clients have yet to take in;
    `shed`: what refuses requests before the app is asked.
    """

    def __init__(
        self,
        *,
        patience: float,
        keep_alive: float,
        most: int,
        most_unsent: int,
        telemetry: Telemetry,
        shed: Shed | None = None,
    ) -> None:
        self.patience = patience
        self.shed = shed
        self._keep_alive = keep_alive
        self._most = most
        self._most_unsent = most_unsent
        self._open = 0
        self._closed = telemetry.connections_closed
        telemetry.follow(telemetry.connections, lambda: self._open)
        # Who owes us a request, or the rest of it, and since when; the longest first.
        self._silent: dict[_Protocol, float] = {}
        # Who has been answered and need not ask again, likewise.
        self._resting: dict[_Protocol, float] = {}
        # Who has an answer to take in, since when, and how many bytes there were then.
        self._reading: dict[_Protocol, tuple[float, int]] = {}
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None

    def protocol(self, **parts: Any) -> asyncio.Protocol:
        """For uvicorn, in place of a class."""
        return _Protocol(self, **parts)

    def opened(self, client: "_Protocol") -> None:
        self._open += 1
        self.wait_for(client)
        if self._open > self._most:
            # Itself where nobody else is silent: whoever is being answered stays.
            longest = [next(iter(kept.items())) for kept in (self._silent, self._resting) if kept]
            self._close(min(longest, key=lambda one: one[1])[0], "crowded")

    def lost(self, client: "_Protocol") -> None:
        self._open -= 1
        self._forget(client)

    def wait_for(self, client: "_Protocol") -> None:
        """It is the client's turn to send a request, once it has read what there is."""
        if client in self._reading:
            return
        waiting = self._resting if client.answered and not client.begun else self._silent
        waiting[client] = client.loop.time()
        self._watch(client.loop)

    def begins(self, client: "_Protocol") -> None:
        """The client has sent the first of a request: now it owes us the rest."""
        if self._resting.pop(client, None) is not None:
            self.wait_for(client)

    def heard(self, client: "_Protocol") -> None:
        """The client has sent a whole request."""
        self._wait_no_more(client)

    def has_to_read(self, client: "_Protocol") -> None:
        """More is ready for the client than the system would buffer."""
        self._wait_no_more(client)
        self._note(client, client.loop.time())
        self._watch(client.loop)
        while self._unsent > self._most_unsent and len(self._reading) > 1:
            self._close(next(iter(self._reading)), "crowded")

    def has_read(self, client: "_Protocol") -> None:
        """The client has taken in most of what there was."""
        self._forget(client)
        if not client.at_work:
            self.wait_for(client)

    def _wait_no_more(self, client: "_Protocol") -> None:
        self._silent.pop(client, None)
        self._resting.pop(client, None)

    def _forget(self, client: "_Protocol") -> None:
        self._wait_no_more(client)
        self._unsent -= self._reading.pop(client, (0.0, 0))[1]

    def _note(self, client: "_Protocol", now: float) -> None:
        self._unsent += client.unsent - self._reading.get(client, (0.0, 0))[1]
        self._reading[client] = now, client.unsent

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self.patience / 8, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close those whose time is over."""
        self._timer = None
        now = loop.time()
        for client, (since, size) in list(self._reading.items()):
            if now - since >= self.patience:
                if size - client.unsent < PROGRESS:
                    self._close(client, "slow_reader")
                else:
                    self._note(client, now)
        for waiting, allowed in (
            (self._silent, self.patience),
            (self._resting, self._keep_alive),
        ):
            while waiting:
                client, since = next(iter(waiting.items()))
                if now - since < allowed:
                    break
                self._close(client, "slow_request" if client.begun else "idle")
        if self._silent or self._resting or self._reading:
            self._watch(loop)

    def _close(self, client: "_Protocol", reason: str) -> None:
        self._closed.labels(reason=reason).inc()
        self._forget(client)
        ours = client.transport.get_extra_info("socket")
        if ours is not None:
            with suppress(OSError):  # it is gone already
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.transport.abort()


class _Protocol(BoundedHttpProtocol):
    """One of them, which says what it waits for."""

    def __init__(self, all_of_them: Connections, **parts: Any) -> None:
        super().__init__(**parts)
        self._all = all_of_them
        self.shed = all_of_them.shed
        self.begun = False
        """Whether there is a part of a request, but not all of it."""
        self.answered = False
        """Whether it has ever had an answer."""

    @property
    def at_work(self) -> bool:
        """Whether an answer is being made, or sent piece by piece."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def unsent(self) -> int:
        """Bytes that the client has yet to take in."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.lost(self)

    def on_message_begin(self) -> None:
        self.begun = True
        self._all.begins(self)
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.begun = False
        self._all.heard(self)
        if not self.at_work:  # answered before it had asked to the end
            self._all.wait_for(self)

    def on_response_complete(self) -> None:
        self.answered = True
        super().on_response_complete()
        if not self.at_work:  # unless it has sent the next request already
            self._all.wait_for(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._all.has_to_read(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all.has_read(self)
