"""The one listening socket: who connects is passed to whichever worker has fewest connections.

Knows nothing about why there are workers or none. While there are none, whoever comes waits in the
system's backlog. Belongs to the event loop.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

import structlog

from service.child import Child

_AT_ONCE = 64
"""Connections that are accepted in one go; the event loop has other things to do as well."""
_MOMENT = 0.01
"""Seconds until the next try, where nobody could take a connection or the system had none."""

log = structlog.get_logger("service.door")


class Door:
    """Closed at first. `takers` lists those that connections may go to now."""

    def __init__(self, listener: socket.socket, takers: Callable[[], Sequence[Child]]) -> None:
        # All accepted connections inherit this: an answer's last bytes do not wait for company.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        self._listener: socket.socket | None = listener
        self._takers = takers
        self._held: socket.socket | None = None
        """Accepted, but all workers' sockets were full."""
        self._open = False

    def open(self) -> None:
        """Let people in from now on, as long as there are takers."""
        if not self._open and self._listener is not None:
            self._open = True
            asyncio.get_running_loop().add_reader(self._listener, self._arrivals)

    def close(self, last: Child | None = None) -> None:
        """For good. Who has connected by now goes to the `last` worker."""
        if self._listener is None:
            return
        self._pause()
        if last is not None:
            self._takers = lambda: [last]
            self._let_in(self._listener)
        if self._held is not None:
            self._held.close()
        self._listener.close()
        self._listener = None

    def _pause(self, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
        self._open = False
        if seconds is not None:
            loop.call_later(seconds, self.open)

    def _arrivals(self) -> None:
        if self._listener is not None:
            self._let_in(self._listener, _AT_ONCE)

    def _let_in(self, listener: socket.socket, many: int = 65536) -> None:
        for _ in range(many):
            takers = sorted(self._takers(), key=lambda child: child.connections)
            if not takers:
                self._pause()
                return
            if self._held is None:
                try:
                    self._held = listener.accept()[0]
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno != errno.ECONNABORTED:  # that one left: no matter
                        log.error("cannot accept connections", error=str(error))
                        self._pause(_MOMENT)
                        return
                    continue
            if not any(child.give(self._held) for child in takers):
                self._pause(_MOMENT)
                return
            self._held.close()
            self._held = None
