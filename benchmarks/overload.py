"""What a server makes of five times the load it can carry, and of clients who leave: in one run.

Both loops for half a minute each, then a minute in which 30 % of the clients leave early. Capacity
is measured first, so that what is printed are ratios. Random weights stand in for a trained
model: the arithmetic is the same.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from overloading import TIMES, measure_pace, overload  # noqa: E402
from running_server import RunningServer, server_factory  # noqa: E402
from tiny_checkpoints import write_slow  # noqa: E402
from traffic import new_faces  # noqa: E402
from visits import come_and_go, mixed_visits  # noqa: E402
from watching import Footprint, Telemetry, nothing_left  # noqa: E402


async def measure_overload(server: RunningServer, deadline: float, seconds: float) -> None:
    url, pid, targets = server.url, server.process.pid, new_faces("pace")
    await measure_pace(url, pid, targets, requests=64)  # warms up
    pace = await measure_pace(url, pid, targets, requests=256)
    print(
        f"capacity {pace.rate:.1f} pictures/s, {pace.cpu_seconds * 1000:.1f} ms of processor each"
    )
    for closed in (True, False):
        result = await overload(
            url, pid, pace, closed=closed, seconds=seconds, clients=400, requests=256
        )
        answers, served = len(result.tally.answers), len(result.tally.served)
        print(f"{'closed' if closed else 'open'} loop, {seconds:.0f} s of {TIMES} times that:")
        print(f"  offered / capacity             {answers / seconds / pace.rate:8.2f}")
        print(f"  answers by status              {result.tally.statuses}")
        print(f"  no answer, or a wrong one      {len(result.tally.lost) + len(result.wrong):8}")
        print(f"  served a second / capacity     {served / result.seconds / pace.rate:8.2f}")
        for share in (0.5, 0.99, 1.0):
            took = result.tally.seconds(share) / deadline
            print(f"  {share:4.0%} of the served / deadline    {took:8.2f}")
        print(f"  last answer after last request {result.seconds - seconds:8.2f} s")
        print(f"  pace two seconds later         {result.recovered.rate / pace.rate:8.2f}")
        cpu = result.recovered.cpu_seconds / pace.cpu_seconds
        print(f"  processor for each picture then{cpu:8.2f}")
        print(f"  memory after / before          {result.growth:8.3f}")


async def measure_disconnects(server: RunningServer, seconds: float) -> None:
    url, pid, visits = server.url, server.process.pid, mixed_visits(0)
    await come_and_go(url, visits, clients=16, share=0.3, seconds=seconds / 3)
    await nothing_left(url)
    before, counted = Footprint.of(pid), await Telemetry.of(url)
    result = await come_and_go(url, visits, clients=16, share=0.3, seconds=seconds)
    await nothing_left(url)
    after, telemetry = Footprint.of(pid), await Telemetry.of(url)
    print(f"30 % of the clients leave, {seconds:.0f} s:")
    print(f"  left                           {result.left:8}")
    print(f"  stayed, by status              {result.tally.statuses}, lost {result.tally.lost}")
    for stage in ("queued", "running"):
        name = "requests_cancelled_total"
        dropped = telemetry(name, stage=stage) - counted(name, stage=stage)
        print(f"  pictures cancelled, {stage:10} {dropped:9.0f}")
    print(f"  in flight and queued then      {0:8}")
    print(f"  sockets before, after          {before.sockets:8} {after.sockets}")
    print(f"  threads before, after          {before.threads:8} {after.threads}")
    print(f"  memory after / before          {after.resident / before.resident:8.3f}")


def main() -> None:
    """Print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each load; twice for leaving")
    parser.add_argument("--deadline", type=float, default=4)
    parser.add_argument("--channels", type=int, default=128, help="of the model: its slowness")
    parser.add_argument("--engine", default="torch", choices=["torch", "openvino", "auto"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slow = write_slow(folder / "slow-64", channels=options.channels)
        fast = write_slow(folder / "less-slow-64")
        settings = {"engine": options.engine, "reservoir": 0, "cache_bytes": 2**20}
        with server_factory(folder, slow) as start:
            server = start(tile=4, deadline=options.deadline, **settings).wait_ready()
            asyncio.run(measure_overload(server, options.deadline, options.seconds))
        with server_factory(folder, fast) as start:
            server = start(**settings).wait_ready()
            asyncio.run(measure_disconnects(server, 2 * options.seconds))


if __name__ == "__main__":
    main()
