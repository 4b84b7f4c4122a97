"""Load: closed loop by wrk, open loop by a lean Poisson generator. Latencies in seconds."""

import asyncio
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.serving.servers import Ask, wrk

SCRIPT = """
local n = tonumber(os.getenv("BENCH_FIRST"))
local path, body = os.getenv("BENCH_PATH"), os.getenv("BENCH_BODY")
wrk.method = os.getenv("BENCH_METHOD")
for name, value in string.gmatch(os.getenv("BENCH_HEADERS"), "([^:]+):([^\\n]+)\\n") do
  wrk.headers[name] = value
end
request = function()
  n = n + 1
  local filled = body ~= "" and body:gsub("SEED", n) or nil
  return wrk.format(nil, (path:gsub("SEED", n)), nil, filled)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


@dataclass(frozen=True)
class Result:
    """What came of a load."""

    rate: float
    """Good answers a second."""
    p50: float
    p99: float
    failed: int


def per_second(call: Callable[[], object], pictures: int, seconds: float) -> float:
    """Pictures a second of a call that makes so many, the first call left out."""
    call()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        done += pictures
    return done / (time.perf_counter() - start)


_first = iter(range(10**9, 10**15, 10**7))


def closed_loop(url: str, ask: Ask, clients: int, seconds: float) -> Result:
    """`clients` connections, each asking anew as soon as it is answered."""
    environment = {
        "BENCH_FIRST": str(next(_first)),
        "BENCH_PATH": ask.path,
        "BENCH_BODY": ask.body,
        "BENCH_METHOD": ask.method,
        "BENCH_HEADERS": "".join(f"{k}:{v}\n" for k, v in ask.headers.items()),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        arguments = ["-t1", f"-c{clients}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s"]
        done = subprocess.run(
            [wrk(), *arguments, "-s", script.name, url],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
    line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT"))
    data = json.loads(line.removeprefix("RESULT "))
    good = data["requests"] - data["failed"]
    return Result(good / data["seconds"], data["p50"], data["p99"], data["failed"])


def open_loop(url: str, ask: Ask, rate: float, seconds: float, deadline: float) -> Result:
    """Arrivals at `rate` a second whatever becomes of them; good: 200 within `deadline` seconds of
    the moment it was due."""
    return asyncio.run(_open_loop(url, ask, rate, seconds, deadline))


async def _open_loop(url: str, ask: Ask, rate: float, seconds: float, deadline: float) -> Result:
    host = urlsplit(url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    taken: list[float] = []
    in_time: list[bool] = []
    failed = 0
    first = next(_first)

    def wire(seed: int) -> bytes:
        body = ask.body.replace("SEED", str(seed))
        headers = {"Host": host.netloc, **ask.headers}
        if ask.method == "POST":
            headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = ask.path.replace("SEED", str(seed))
        return f"{ask.method} {path} HTTP/1.1\r\n{lines}\r\n{body}".encode()

    async def one(seed: int, due: float) -> None:
        nonlocal failed
        try:
            reader, writer = (
                idle.pop() if idle else await asyncio.open_connection(host.hostname, host.port)
            )
            writer.write(wire(seed))
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
            )
            await reader.readexactly(int(fields.get(b"content-length", b"0")))
            if fields.get(b"connection") == b"close":
                writer.close()
            else:
                idle.append((reader, writer))
            good = head.split(b" ", 2)[1] == b"200"
        except (OSError, EOFError, ValueError):
            good = False
        now = time.perf_counter()
        spent = now - due
        if good and spent <= deadline:
            taken.append(spent)
            in_time.append(now - start <= seconds)
        else:
            failed += 1

    randomness, start, due, number = random.Random(0), time.perf_counter(), 0.0, 0
    tasks = set()
    while due < seconds:
        wait = start + due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(first + number, start + due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += randomness.expovariate(rate)
        number += 1
    if tasks:
        await asyncio.wait(tasks, timeout=60)
    for _, writer in idle:
        writer.close()
    taken.sort()
    nan = float("nan")
    # What came after the window was paid for by the time after it.
    return Result(
        sum(in_time) / seconds,
        taken[len(taken) // 2] if taken else nan,
        taken[int(0.99 * len(taken))] if taken else nan,
        failed,
    )
