"""One process with all threads beside several with one each, behind one address; in one run.

    python -m benchmarks.processes [--processes 2] [--rounds 3] [--seconds 5]

Both servers run all the while and are asked in turn, by wrk on the same cores. Read the ratios.
"""

import argparse
import json
import os
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.serving.load import closed_loop
from benchmarks.serving.servers import Ask, Running, service

FACES_64 = Path(__file__).resolve().parents[1] / "models" / "checkpoints" / "faces-64"
CLOSE = {"Connection": "close"}
ASKS = {
    "a new face, 64 clients": (Ask("/v1/faces/SEED.png"), 64),
    "a new face, 8 clients": (Ask("/v1/faces/SEED.png"), 8),
    "a new face, 1 client": (Ask("/v1/faces/SEED.png"), 1),
    "a cached face, 64 clients": (Ask("/v1/faces/7.png"), 64),
    "the same, a connection each time": (Ask("/v1/faces/7.png", headers=CLOSE), 64),
}


@contextmanager
def ready(checkpoint: Path, processes: int, threads: int) -> Iterator[Running]:
    """A server, once all its processes are ready."""
    with service(checkpoint, processes=processes, threads=threads, reservoir=0) as running:
        give_up = time.monotonic() + 120
        while f"visage_ready {processes}.0" not in _text(running.url + "/metrics"):
            if time.monotonic() > give_up:
                raise RuntimeError(f"no {processes} processes are ready within 120 s")
            time.sleep(0.1)
        yield running


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def main() -> None:
    """Measure, print, and write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--checkpoint", type=Path, default=FACES_64)
    parser.add_argument("--report", type=Path, default=Path("processes.json"))
    options = parser.parse_args()
    many, cores = options.processes, len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        servers = {
            f"1 process, {cores} threads": ready(options.checkpoint, 1, cores),
            f"{many} processes, {max(1, cores // many)} each": ready(
                options.checkpoint, many, max(1, cores // many)
            ),
        }
        running = {name: stack.enter_context(server) for name, server in servers.items()}
        report: dict[str, dict] = {
            "resident, MB": {name: one.resident() / 2**20 for name, one in running.items()}
        }
        print("resident, MB", {name: round(mb) for name, mb in report["resident, MB"].items()})
        for what, (ask, clients) in ASKS.items():
            rates: dict[str, list[float]] = {name: [] for name in running}
            p99s: dict[str, list[float]] = {name: [] for name in running}
            failed = 0
            for _ in range(options.rounds):
                for name, server in running.items():
                    result = closed_loop(server.url, ask, clients, options.seconds)
                    rates[name].append(result.rate)
                    p99s[name].append(result.p99)
                    failed += result.failed
            report[what] = {"rates": rates, "p99": p99s, "failed": failed}
            one, several = (statistics.median(row) for row in rates.values())
            shares = [b / a for a, b in zip(*rates.values(), strict=True)]
            tails = [f"{statistics.median(row) * 1e3:.1f}" for row in p99s.values()]
            print(
                f"{what:34} {one:8.1f}/s  {several:8.1f}/s  ratio {several / one:.2f} "
                f"({min(shares):.2f} to {max(shares):.2f})  p99 {' and '.join(tails)} ms  "
                f"failed {failed}",
                flush=True,
            )
    options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
