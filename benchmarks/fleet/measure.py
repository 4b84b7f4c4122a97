"""Real replicas on this machine under the traces of `cases`: `python -m benchmarks.fleet.measure`.

The service with an engine that only waits, a real Valkey between the replicas, requests dealt out
in turn as a balancer would. Writes what came of each request; `validation --condense` makes of it
the measured.json that the simulation is held against.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from running_valkey import RunningValkey  # noqa: E402
from traffic import Connection  # noqa: E402

from benchmarks.fleet.arrivals import NEW, Trace  # noqa: E402
from benchmarks.fleet.cases import CALIBRATED, CASES, DEADLINE  # noqa: E402


@contextmanager
def replica(engine: str, redis: str) -> Iterator[str]:
    """One process of the service with a waiting engine; its address."""
    settings = {"port": 0, "redis_url": redis, "deadline": DEADLINE, "reservoir": 0}
    settings |= {"log_format": "json", "encoder_threads": 1}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet.stub_server"],
        cwd=ROOT,
        env=os.environ
        | {"FLEET_ENGINE": engine}
        | {f"VISAGE_{name.upper()}": str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        url = ""
        for line in process.stdout:
            event = json.loads(line)
            url = event.get("url", url)
            if event["event"] == "ready":
                break
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.wait(timeout=30)


async def play(urls: list[str], trace: Trace, prefix: str) -> list[dict]:
    """Send the trace, each request when it is due, to the replicas in turn; what came of each."""
    free: list[list[Connection]] = [[] for _ in urls]
    rows: list[dict] = [{} for _ in range(len(trace))]
    started = time.perf_counter() + 0.1

    async def one(number: int, key: int) -> None:
        turn = number % len(urls)
        connection = free[turn].pop() if free[turn] else Connection(urls[turn])
        face = f"{prefix}-new-{number}" if key == NEW else f"{prefix}-{key}"
        answer = await connection.ask(f"/v1/faces/{face}.png")
        spent = time.perf_counter() - started - trace.seconds[number]
        rows[number] = {
            "status": answer.status,
            "seconds": float(spent),
            "cache": answer.headers.get("x-cache", ""),
        }
        free[turn].append(connection)

    async with asyncio.TaskGroup() as group:
        for number, (due, key) in enumerate(zip(trace.seconds, trace.keys, strict=True)):
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            group.create_task(one(number, int(key)))
    for connection in [connection for idle in free for connection in idle]:
        connection.close()
    return rows


def calibrate(urls: list[str], rounds: int = 60) -> dict[str, float]:
    """Median seconds of one request at a time: made, found here, found in Valkey."""
    took: dict[str, list[float]] = {"made": [], "here": [], "shared": []}
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url)) for url in urls]
        for n in range(-5, rounds):
            for what, which in (("made", 0), ("here", 0), ("shared", -1)):
                started = time.perf_counter()
                clients[which].get(f"/v1/faces/calibrate-{n}.png").raise_for_status()
                if n >= 0:
                    took[what].append(time.perf_counter() - started)
                time.sleep(0.01)  # storing is not waited for
    return {what: statistics.median(seconds) for what, seconds in took.items()}


def main() -> None:
    """Measure every case, and write what came of each request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("measured.json"))
    parser.add_argument("--runs", type=int, default=1, help="of each case, with other seeds")
    options = parser.parse_args()
    report: dict = {"calibration": {}, "cases": []}
    valkey = RunningValkey()
    try:
        for engine, cases in groupby(CASES, key=lambda case: case.engine):
            with replica(engine, valkey.url) as one, replica(engine, valkey.url) as two:
                urls = [one, two]
                if engine == CALIBRATED:
                    report["calibration"] = calibrate(urls)
                    print(report["calibration"], flush=True)
                for case in cases:
                    for seed in range(options.runs):
                        prefix = f"{case.replicas}-{case.rate:g}-{case.new_share:g}-{seed}"
                        here = urls[: case.replicas]
                        rows = asyncio.run(play(here, case.trace(seed), prefix))
                        report["cases"].append({"name": case.name, "seed": seed, "rows": rows})
                        good = sum(row["status"] == 200 for row in rows)
                        print(f"{case.name}: {good} of {len(rows)}", flush=True)
    finally:
        valkey.kill()
    options.out.write_text(json.dumps(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
