"""Real server processes, started as a user starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKPOINTS = REPOSITORY / "models" / "checkpoints"
FACES_128 = CHECKPOINTS / "faces-128"  # what is served unless told otherwise
FACES_64 = CHECKPOINTS / "faces-64"


class RunningServer:
    """One `python -m service` process; its log is in `log`, one JSON object a line."""

    def __init__(self, log: Path, settings: dict[str, object]) -> None:
        self.log = log
        self.client: httpx.Client | None = None
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VISAGE_")}
        ours = {
            f"VISAGE_{name.upper()}": str(value)
            for name, value in ({"port": 0, "threads": 1, "log_format": "json"} | settings).items()
        }
        with log.open("wb") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"],
                cwd=REPOSITORY,
                env=clean | ours,
                stdout=stdout,
                stderr=subprocess.PIPE,
            )

    def events(self) -> list[dict]:
        """What it has logged so far, whole lines only."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def wait_ready(self) -> "RunningServer":
        self.wait_for("ready")
        self.url = self.wait_for("listening")["url"]
        self.client = httpx.Client(base_url=self.url, timeout=120)
        return self

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(how)
        return self.wait()[0]

    def close(self) -> None:
        """Whatever state it is in: gone, and nothing left open."""
        if self.client is not None:
            self.client.close()
        if self.process.returncode is None:
            self.process.kill()
            self.wait()

    def wait(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, stderr = self.process.communicate(timeout=120)
        return self.process.returncode, stderr.decode()

    def wait_for(self, event: str) -> dict:
        """The first line of its log about this event, once it is there."""
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            if found := [line for line in self.events() if line["event"] == event]:
                return found[0]
            if self.process.poll() is not None:
                pytest.fail(f"the server ended with {self.wait()}")
            time.sleep(0.05)
        pytest.fail(f"the server never logged {event!r}: {self.log.read_text()}")


Start = Callable[..., RunningServer]


@contextmanager
def server_factory(folder: Path, checkpoint: Path) -> Iterator[Start]:
    started: list[RunningServer] = []

    def start(**settings: object) -> RunningServer:
        log = folder / f"server-{len(started)}.log"
        started.append(RunningServer(log, {"checkpoints": checkpoint} | settings))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.close()
