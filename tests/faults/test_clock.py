"""The wall clock jumps by hours: nothing that is bounded in time notices."""

import ast
import asyncio
import time
from pathlib import Path

import pytest
from answers import picture, problem
from fakes import FakeEngine, Gate
from serving import sample_of, serve

import service

HOURS = 3600
WALL_CLOCKS = {
    "time.time",
    "time.time_ns",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.strftime",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
}


@pytest.fixture(params=[5 * HOURS, -5 * HOURS], ids=["forward", "back"])
def jump(request, monkeypatch):
    """Makes everybody's wall clock jump."""
    real, real_ns = time.time, time.time_ns

    def jump():
        monkeypatch.setattr(time, "time", lambda: real() + request.param)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + request.param * 10**9)

    return jump


async def test_deadlines_quotas_and_caches_are_kept(jump):
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine, rate_limit="5/hour", deadline=30) as client:
        running = asyncio.create_task(client.get("/v1/faces/7.png"))
        await gate.reached()
        waiting = [asyncio.create_task(client.get(f"/v1/faces/{n}.png")) for n in range(3)]
        jump()
        assert (await client.get("/readyz")).status_code == 200
        gate.open()
        made = await running
        for answer in (made, *await asyncio.gather(*waiting)):
            picture(answer)
        again = await client.get("/v1/faces/7.png")
        assert (again.headers["X-Cache"], again.content) == ("hit", made.content)
        # Five pictures in this hour, whatever the clock on the wall says.
        problem(await client.get("/image"), 429, "rate-limited")
        assert sample_of(client)("visage_requests_rejected_total", reason="deadline") == 0
        assert sample_of(client)("visage_queue_wait_seconds_sum") < HOURS


async def test_quotas_in_redis_are_kept(jump, valkey):
    async with serve(rate_limit="2/hour", redis_url=valkey.url, redis_timeout=5) as client:
        picture(await client.get("/v1/faces/1.png"))
        jump()
        picture(await client.get("/v1/faces/1.png"))
        problem(await client.get("/v1/faces/1.png"), 429, "rate-limited")


def wall_clocks(source: str) -> set[str]:
    """Those that a module names, however it has imported them."""
    tree, meant = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            meant |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names = node.names
            meant |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in names}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            found.add(".".join([meant.get(first, first), *rest]))
    return found & WALL_CLOCKS


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", {"time.time"}),
        ("from time import time\ntime()", {"time.time"}),
        ("from time import time_ns as now\nnow()", {"time.time_ns"}),
        ("import time as clock\ndefault_factory = clock.time", {"time.time"}),
        ("import datetime\ndatetime.datetime.now()", {"datetime.datetime.now"}),
        ("import datetime as dt\ndt.date.today()", {"datetime.date.today"}),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", {"datetime.datetime.now"}),
        ("import time\ntime.monotonic()", set()),
        ("from time import monotonic as time\ntime()", set()),
    ],
)
def test_a_wall_clock_is_seen_however_it_is_imported(source, found):
    assert wall_clocks(source) == found


def test_nothing_in_the_service_reads_the_wall_clock():
    paths = sorted(Path(service.__file__).parent.rglob("*.py"))
    found = {path.name: wall_clocks(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: clocks for name, clocks in found.items() if clocks} == {}
