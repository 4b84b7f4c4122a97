"""A real Ray cluster in processes of its own, with ports and folders of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ports
from running_server import REPOSITORY

CLUSTER_ENV = REPOSITORY / "deploy" / "ray" / "cluster.env"


def cluster_variables() -> dict[str, str]:
    """What deploy/ray/cluster.env sets."""
    lines = CLUSTER_ENV.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class RunningRay:
    """Stub replicas behind HAProxy at `url`; see ray_stub.py."""

    def __init__(self, folder: Path, **changes: str) -> None:
        self._stub = folder / "stub"
        self._stub.mkdir()
        port, fallback, metrics, stats, own = ports.free(5)
        self.url = f"http://127.0.0.1:{port}"
        self.own_port = own
        haproxy = {
            "CONFIG_FILE_LOC": folder / "haproxy.cfg",
            "SOCKET_PATH": folder / "admin.sock",
            "SERVER_STATE_BASE": folder,
            "SERVER_STATE_FILE": folder / "server-state",
            "METRICS_SOCKET_PATH": folder / "metrics.sock",
            "METRICS_PORT": metrics,
            "STATS_PORT": stats,
        }
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VISAGE_", "RAY_"))},
            **cluster_variables(),
            **{f"RAY_SERVE_HAPROXY_{name}": str(value) for name, value in haproxy.items()},
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            "RAY_AUTH_MODE": "disabled",  # it would leave a token in the home folder
            "RAY_TMPDIR": str(folder),
            "RAY_STUB_FOLDER": str(self._stub),
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
            **changes,
        }
        self.log = folder / "driver.log"
        with self.log.open("wb") as stderr:
            self._driver = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "tests" / "ray_stub.py"), str(port)],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )

    def ask(self, *, replicas: int, **settings: object) -> None:
        """Become that many replicas with these settings; returns at once."""
        ours = {"host": "127.0.0.1", "port": self.own_port, "reservoir": 0, "cache_bytes": 0}
        options = {
            "settings": ours | settings,
            "min_replicas": replicas,
            "max_replicas": replicas,
        }
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps(options) + "\n")
        self._driver.stdin.flush()

    def wait(self) -> None:
        """Until that is so."""
        assert self._driver.stdout is not None
        while (line := self._driver.stdout.readline()) != "deployed\n":
            if not line:
                raise RuntimeError(f"the driver ended: {self.log.read_text()[-2000:]}")

    def deploy(self, **options) -> None:
        self.ask(**options)
        self.wait()

    def replicas(self) -> list[int]:
        """Process ids of those that live, the oldest first."""
        files = sorted(self._stub.glob("[0-9]*"), key=lambda file: file.stat().st_mtime_ns)
        return [pid for pid in (int(file.name) for file in files) if Path(f"/proc/{pid}").exists()]

    @contextmanager
    def held(self) -> Iterator[None]:
        """No engine finishes the batch that it has begun."""
        (self._stub / "hold").touch()
        try:
            yield
        finally:
            (self._stub / "hold").unlink()

    def kill_a_replica(self) -> None:
        """The oldest, without a farewell."""
        os.kill(self.replicas()[0], signal.SIGKILL)

    def close(self) -> None:
        """Everything gone, however it stands."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.close()
        try:
            self._driver.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._driver.stdout.close()


@contextmanager
def running_ray(**changes: str) -> Iterator[RunningRay]:
    """A cluster without replicas, until some are deployed."""
    # Not pytest's folder: a socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name:
        ray = RunningRay(Path(name), **changes)
        try:
            yield ray
        finally:
            ray.close()
