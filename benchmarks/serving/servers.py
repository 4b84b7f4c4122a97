"""The servers that are compared: how each is started, and what is asked of it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class Ask:
    """One kind of request; SEED stands for a number that is new each time."""

    path: str
    method: str = "GET"
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    pid: int
    seconds_to_ready: float

    def resident(self) -> int:
        """Bytes of it and of all its children."""
        children: dict[int, list[int]] = {}
        pages: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    pages[int(entry.name)] = int((entry / "statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        todo, total = [self.pid], 0
        while todo:
            pid = todo.pop()
            total += pages.get(pid, 0)
            todo += children.get(pid, [])
        return total * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def service(checkpoint: Path, **settings: object) -> Iterator[Running]:
    """Ours, as `make serve` starts it."""
    with _running(
        lambda _: [sys.executable, "-m", "service"],
        Ask("/v1/faces/SEED.png"),
        lambda port: {
            "VISAGE_PORT": str(port),
            "VISAGE_CHECKPOINTS": str(checkpoint),
            "VISAGE_LOG_LEVEL": "warning",
            **{f"VISAGE_{name.upper()}": str(value) for name, value in settings.items()},
        },
    ) as running:
        yield running


ASKS = {
    "fastapi": Ask("/face?seed=SEED"),
    "litserve": Ask("/predict", "POST", '{"seed": SEED}', {"Content-Type": "application/json"}),
    "mosec": Ask("/inference", "POST", "SEED"),
    "bentoml": Ask("/face", "POST", '{"seed": SEED}', {"Content-Type": "application/json"}),
    "ray": Ask("/face?seed=SEED"),
}


@contextmanager
def peer(name: str, checkpoint: Path, python: Path) -> Iterator[Running]:
    """One of `ASKS`, in its own environment."""

    def command(port: int) -> list[str]:
        file = str(PEERS / f"{name}_app.py")
        if name == "bentoml":
            bentoml = str(python.parent / "bentoml")
            return [bentoml, "serve", "bentoml_app:Api", "--port", str(port), "--timeout", "60"]
        if name == "mosec":
            return [str(python), file, "--port", str(port), "--timeout", "60000"]
        return [str(python), file, str(port)]

    with _running(
        command,
        ASKS[name],
        lambda _: {
            "BENCH_CHECKPOINT": str(checkpoint),
            "PYTHONPATH": f"{ROOT}:{PEERS}",
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{python.parent}:{os.environ['PATH']}",
        },
        cwd=PEERS,
    ) as running:
        yield running


@contextmanager
def _running(command, ask: Ask, environment, cwd: Path = ROOT) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = Path(os.environ.get("BENCH_LOG", os.devnull))
    start = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(port),
            cwd=cwd,
            env=os.environ | environment(port),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _first_face(url, ask, process)
        yield Running(url, process.pid, time.perf_counter() - start)
    finally:
        for number in (15, 9):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=15)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _first_face(url: str, ask: Ask, process: subprocess.Popen, within: float = 120) -> None:
    """Wait until it has answered with a PNG."""
    give_up, last = time.monotonic() + within, ""
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}")
        request = urllib.request.Request(
            url + ask.path.replace("SEED", "1"),
            method=ask.method,
            data=ask.body.replace("SEED", "1").encode() or None,
            headers=ask.headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                if answer.read(4) == b"\x89PNG":
                    return
                last = "it answers with something other than a PNG"
        except (OSError, urllib.error.URLError) as error:
            last = str(error)
        time.sleep(0.05)
    raise RuntimeError(f"no face after {within} s: {last}")


def wrk() -> str:
    """The load generator's path; raises RuntimeError with the remedy."""
    found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("wrk makes the load: install the package wrk, then try again")
    return found
