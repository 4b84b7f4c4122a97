"""Ports of this machine that nobody listens on."""

import socket
from contextlib import ExitStack


def free(number: int) -> list[int]:
    """So many, all different. Somebody else may take one until it is listened on."""
    with ExitStack() as stack:
        probes = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    return free(1)[0]
