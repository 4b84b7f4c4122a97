"""uvicorn's HTTP/1.1 with an end to what it gathers before there is a request.

Knows bytes and connections, no routes. The parser below collects a request line and headers
of any length, and in a time that grows with their square: one client could take all memory, and
the event loop with it. What is within the bound goes on to `service/bounds.py`, which is stricter.
Head and body of an answer leave together, who makes an answer can be told when its client goes, and
what is refused anyway can be refused before the app is asked (`service/shedding.py`).
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.errors import BadRequestError, HeadersTooLargeError, VisageError
from service.middleware import TO_GET
from service.problems import problem_response

MAX_HEAD = 65_536
"""Bytes of a request line with its headers, give or take what one read brings; an address may
have 60,000 at the very most."""

CONNECTION = "visage.connection"
"""Key in the ASGI scope: the connection that a request came by, a BoundedHttpProtocol."""
_HEAD_BEGINS = b"HTTP/1.1 "

_TOO_LONG = HeadersTooLargeError(
    f"A request may have up to {MAX_HEAD} bytes before its body: send fewer or shorter headers."
)
_NO_HTTP = BadRequestError(
    "This is no HTTP request: percent-encode the address, use a method of HTTP, and mind the "
    "lengths that are announced."
)


def _refusal(error: VisageError) -> bytes:
    """The whole answer; it is the connection's last."""
    response = problem_response(error)
    own = ((b"x-request-id", secrets.token_hex(8).encode()), (b"connection", b"close"))
    headers = [b"%s: %s\r\n" % header for header in (*response.raw_headers, *TO_GET, *own)]
    return b"".join((STATUS_LINE[error.status], *headers, b"\r\n", response.body))


Shed = Callable[[HTTPScope, list[tuple[bytes, bytes]]], bytes | None]
"""Given a request and the server's headers: a whole answer that refuses it, or None to go on."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Refuses a head that is too long, and closes; asks `shed` before the app."""

    _head = 0
    """Bytes received since the last one outside a request head."""
    _when_gone: Callable[[], None] | None = None
    shed: Shed | None = None
    _may_shed = False
    """At most one request per read is shed: a run of them would block the event loop."""

    @contextmanager
    def telling(self, when_gone: Callable[[], None]) -> Iterator[None]:
        """Call `when_gone` if the client goes before the block is left, at once if it has.

        A task that waits for `http.disconnect` would do, but takes as long as a small answer.
        """
        if self.transport.is_closing():
            when_gone()
        # Reading pauses where a client sends its next request early; none would notice it go.
        self.flow.resume_reading()
        self._when_gone = when_gone
        try:
            yield
        finally:
            self._when_gone = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoiningTransport(transport, self.loop))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._when_gone is not None:
            self._when_gone()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[literal-required]

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        self._may_shed = True
        super().data_received(data)
        self._may_shed = False
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_refusal(_TOO_LONG))
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What is no HTTP is refused as all else is; uvicorn's `msg` names no remedy."""
        self.transport.write(_refusal(_NO_HTTP))
        self.transport.close()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = 0

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: who asks for one is answered as if they had not, which is worth no line."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """uvicorn's way to the app, which begins with a task."""
        answer, may_shed, self._may_shed = None, self._may_shed, False
        # Who does not read its answers waits for its turn, and who has left needs none.
        able = cycle.keep_alive and not self.flow.write_paused and not self.transport.is_closing()
        if self.shed and may_shed and able:
            answer = self.shed(cycle.scope, cycle.default_headers)
        if answer is None:
            self._unset_keepalive_if_required()  # of a refusal that came by the same read
            super()._start_asgi_task(cycle, app)
            return
        self.transport.write_whole(answer)  # type: ignore[attr-defined]
        cycle.response_started = cycle.response_complete = True
        cycle.on_response()

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)


class JoiningTransport(asyncio.Transport):
    """A transport that keeps the head of an answer back until its body, or the loop's next turn.

    Sent one by one they are two packets, for which the client wakes up twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._kept = b""
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]
        self.set_write_buffer_limits = transport.set_write_buffer_limits  # type: ignore[method-assign]

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if self._kept:
            kept, self._kept = self._kept, b""
            self._transport.writelines((kept, data))
        elif data[: len(_HEAD_BEGINS)] == _HEAD_BEGINS:
            self._kept = data
            self._loop.call_soon(self._send_kept)
        else:
            self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """An answer that has its body."""
        self._send_kept()
        self._transport.write(data)

    def close(self) -> None:
        self._send_kept()
        self._transport.close()

    def abort(self) -> None:
        self._kept = b""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        return len(self._kept) + self._transport.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._send_kept()
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def _send_kept(self) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._transport.write(kept)
