"""What one replica and two hold and give in a local Ray cluster, and what a killed one costs.

The replicas are the whole service; their engine is a stub for which a batch takes a fixed time, so
the ratios say what Ray, HAProxy and the service make of two replicas, and nothing about engines.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from ray_drills import ONE_BY_ONE, accepted_at_once, faces, kill_one, replace_all  # noqa: E402
from running_ray import RunningRay, running_ray  # noqa: E402
from serving import eventually  # noqa: E402
from traffic import closed_loop  # noqa: E402

SETTINGS = ONE_BY_ONE | {"queue_capacity": 24, "tile": 4}
LATENCY = 200
"""Milliseconds of each batch."""


async def goodput(ray: RunningRay, *, clients: int, seconds: float) -> tuple[float, float]:
    """Answers a second, and the median of what they took."""
    tally = await closed_loop(ray.url, faces("pace"), clients=clients, seconds=seconds)
    assert set(tally.statuses) == {200}, tally.statuses
    return len(tally.answers) / seconds, tally.seconds(0.5)


async def measure(ray: RunningRay, seconds: float) -> None:
    accepted, rates = [], []
    for replicas in (1, 2):
        ray.deploy(replicas=replicas, checkpoints=f"first-{LATENCY}", **SETTINGS | {"tile": 1})
        counts = [(await accepted_at_once(ray, offered=120))[0] for _ in range(3)]
        accepted.append(statistics.median(counts))
        print(f"{replicas} replica(s): {counts} of 120 accepted at once")
    print(f"ratio {accepted[1] / accepted[0]:.2f}")
    for replicas in (1, 2):
        ray.deploy(replicas=replicas, checkpoints=f"first-{LATENCY}", **SETTINGS)
        rate, median = await goodput(ray, clients=16 * replicas, seconds=seconds)
        rates.append(rate)
        print(f"{replicas} replica(s): {rate:.1f} pictures/s, p50 {median * 1000:.0f} ms")
    print(f"ratio {rates[1] / rates[0]:.2f}")
    for _ in range(3):
        tally = await kill_one(ray, clients=16, requests=300, after=100)
        longest = max(answer.seconds for answer in tally.answers)
        print(
            f"one of two killed: {tally.statuses}, {len(tally.lost)} lost, {longest:.2f} s at most"
        )
        await eventually(lambda: len(ray.replicas()) == 2)
        await asyncio.sleep(5)
    started = time.monotonic()
    options = SETTINGS | {"checkpoints": f"second-{LATENCY}"}
    tally = await replace_all(ray, clients=16, replicas=2, **options)
    print(
        f"both replaced in {time.monotonic() - started:.1f} s: {tally.statuses}, "
        f"{len(tally.lost)} lost, {max(answer.seconds for answer in tally.answers):.2f} s at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    with running_ray() as ray:
        asyncio.run(measure(ray, parser.parse_args().seconds))


if __name__ == "__main__":
    main()
