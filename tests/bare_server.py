"""Server processes with a fault built in; their log is elsewhere: they are known by their port."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import httpx
import ports
from running_server import REPOSITORY

SERVICE = ("-m", "service")


@contextmanager
def bare_server(
    *command: str,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    before: Callable[[], None] | None = None,
    **settings: object,
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A ready one: `command` for Python; `before` runs in its process before anything else."""
    port = ports.free_port()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VISAGE_")}
    given = {"port": port, "threads": 1, "engine": "torch", "tile": 2} | settings
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=clean | {f"VISAGE_{name.upper()}": str(value) for name, value in given.items()},
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        try:
            _wait_ready(client, process)
            yield client, process
        finally:
            if process.returncode is None:
                process.kill()
                process.communicate()


def _wait_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert process.poll() is None, process.communicate()
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("it was never ready")
