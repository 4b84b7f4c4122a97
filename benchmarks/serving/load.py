"""Load in a closed loop, by wrk. Latencies in seconds."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

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


def first_seed() -> int:
    """The first of many seeds that nobody has asked for yet."""
    return next(_first)


def closed_loop(url: str, ask: Ask, clients: int, seconds: float) -> Result:
    """`clients` connections, each asking anew as soon as it is answered."""
    environment = {
        "BENCH_FIRST": str(first_seed()),
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
