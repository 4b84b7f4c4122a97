"""uvicorn's HTTP/1.1 with an end to what it gathers before there is a request.

Knows bytes and connections, no routes. The parser below collects a request line and headers
of any length, and in a time that grows with their square: one client could take all memory, and
the event loop with it. What is within the bound goes on to `service/bounds.py`, which is stricter.
"""

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import HeadersTooLargeError

MAX_HEAD = 65_536
"""Bytes of a request line with its headers, give or take what one read brings; an address may
have 60,000 at the very most."""

_ERROR = HeadersTooLargeError(
    f"A request may have up to {MAX_HEAD} bytes before its body: send fewer or shorter headers."
)
_BODY = json.dumps(_ERROR.problem()).encode()
_REFUSAL = b"".join(
    (
        STATUS_LINE[_ERROR.status],
        b"content-type: application/problem+json\r\n",
        b"content-length: %d\r\n" % len(_BODY),
        b"cache-control: no-store\r\n",
        b"x-content-type-options: nosniff\r\n",
        b"connection: close\r\n\r\n",
        _BODY,
    )
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Refuses a head that is too long, and closes."""

    _head = 0
    """Bytes since the last that was no part of a head."""

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = 0

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)
