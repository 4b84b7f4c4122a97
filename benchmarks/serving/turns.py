"""Things in turns, milliseconds apart: a machine whose pace changes by the second changes all."""

import re
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from benchmarks.serving.load import first_seed
from benchmarks.serving.servers import Ask

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def in_turns(calls: Sequence[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Seconds that each call took, a row for each turn; each is made twice, the first one to warm
    up after the others."""
    rows = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        row = []
        for call in calls:
            call()
            start = time.perf_counter()
            call()
            row.append(time.perf_counter() - start)
        rows.append(row)
    return rows


def added_latency(url: str, ask: Ask, bare: Callable[[], object], seconds: float) -> list[float]:
    """Seconds that each face took longer than the bare picture just before it.

    `ask`: a GET. Raises RuntimeError for an answer that is not 200.
    """
    where = urlsplit(url)
    seed, added = first_seed(), []
    end = time.perf_counter() + seconds
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (start := time.perf_counter()) < end:
            bare()
            between = time.perf_counter()
            seed += 1
            _get(connection, ask.path.replace("SEED", str(seed)))
            added.append(time.perf_counter() - between - (between - start))
    return added


def _get(connection: socket.socket, path: str) -> None:
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path.encode())
    answer, whole = b"", None
    while whole is None or len(answer) < whole:
        received = connection.recv(1 << 20)
        if not received:
            raise RuntimeError("the server hung up")
        answer += received
        head = answer.find(b"\r\n\r\n")
        if whole is None and head >= 0:
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"no face came: {answer[:head].decode()}")
            length = _LENGTH.search(answer, 0, head + 2)
            assert length is not None
            whole = head + 4 + int(length[1])
