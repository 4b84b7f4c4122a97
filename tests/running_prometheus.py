"""A real Prometheus with this repository's rules, faster than it is meant to be run."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ports
import yaml
from monitoring import RULES, tool


class RunningPrometheus:
    """One process that scrapes `targets` (host:port) every second."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.folder = folder
        (folder / "rules").mkdir(parents=True)
        for file in RULES:
            groups = yaml.safe_load(file.read_text(encoding="utf-8"))
            for group in groups["groups"]:
                group["interval"] = "1s"
            (folder / "rules" / file.name).write_text(yaml.safe_dump(groups))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules/*.yml"],
            "scrape_configs": [
                {"job_name": "visage", "static_configs": [{"targets": targets}]},
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{ports.free_port()}"
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stderr=log,
                stdout=log,
            )

    def ask(self, query: str) -> list[dict]:
        """The series an instant query gives now; none while it starts."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            return []

    def wait_for(self, query: str, patience: float = 60) -> list[dict]:
        """What it gives, once that is something."""
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            if found := self.ask(query):
                return found
            time.sleep(0.2)
        raise AssertionError(f"Prometheus never had anything for {query}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@contextmanager
def prometheus(folder: Path, *servers: str) -> Iterator[RunningPrometheus]:
    """One that watches the servers at these addresses (http://host:port)."""
    running = RunningPrometheus(folder, [server.removeprefix("http://") for server in servers])
    try:
        yield running
    finally:
        running.stop()
