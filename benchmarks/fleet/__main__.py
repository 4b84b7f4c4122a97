"""Fleets nobody has here: `python -m benchmarks.fleet [--plot docs/pictures/fleet.webp]`.

A flash crowd on an autoscaled fleet, by what the autoscaler looks at and how fast a replica starts,
and a million faces a minute by how many replicas there are. How far to believe it, says
`validation`.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.fleet.arrivals import constant, flash_crowd, poisson
from benchmarks.fleet.autoscaler import Autoscaler
from benchmarks.fleet.capacity import MILLION_A_MINUTE
from benchmarks.fleet.replica import EXPIRED, REFUSED, Costs, Settings
from benchmarks.fleet.simulation import Outcome, simulate, summary

FACES_A_SECOND = 460
"""New faces of `faces-64` from a replica of two cores: benchmarks/RESULTS.md, the low end."""
HITS_A_SECOND = 9_000
REPLICA = Settings(
    fixed=0.0,
    each=1 / FACES_A_SECOND,
    costs=Costs(here=0.0005, shared=0.001, made=0.002, loop=1 / HITS_A_SECOND),
)
CROWD = flash_crowd(1000, 5000, at=120, rise=30, lasts=420)
CROWD_SECONDS = 900.0


def autoscalers() -> dict[str, Autoscaler]:
    """The same crowd is met by each."""
    return {
        "engine time, start 60 s": Autoscaler(4, 40, "busy", 0.6, cold_start=60, calm=180),
        "engine time, start 10 s": Autoscaler(4, 40, "busy", 0.6, cold_start=10, calm=180),
        "queue, start 60 s": Autoscaler(4, 40, "queue", 20, cold_start=60, calm=180),
    }


def crowds() -> dict[str, Outcome]:
    """A flash crowd of five times the load, half of it for known faces."""
    trace = poisson(CROWD, CROWD_SECONDS, seed=0, new_share=0.5, faces=2_000_000, exponent=1.0)
    return {
        name: simulate(
            trace,
            REPLICA,
            4,
            duration=CROWD_SECONDS,
            shared_faces=1_000_000,
            autoscaler=scaler,
        )
        for name, scaler in autoscalers().items()
    }


def million(replicas: int, seconds: float = 30.0) -> Outcome:
    """A million a minute, nothing cached before, by a fleet of fixed size."""
    trace = poisson(
        constant(MILLION_A_MINUTE),
        seconds,
        seed=0,
        new_share=0.5,
        faces=10_000_000,
        exponent=1.0,
    )
    return simulate(trace, REPLICA, replicas, duration=seconds, shared_faces=1_000_000)


def plot(outcomes: dict[str, Outcome], path: Path) -> None:
    """Goodput and refusals above, replicas below, over time."""
    import io

    import matplotlib as mpl
    from PIL import Image

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        2, len(outcomes), figsize=(12, 5), sharex=True, sharey="row", layout="constrained"
    )
    edges = np.arange(0, CROWD_SECONDS + 1, 10)
    for column, (name, outcome) in zip(axes.T, outcomes.items(), strict=True):
        due = outcome.trace.seconds
        lost = np.isin(outcome.fate, (REFUSED, EXPIRED))
        served, refused = (
            np.histogram(due[which], edges)[0] / 10 for which in (outcome.served, lost)
        )
        column[0].stackplot(
            edges[:-1],
            served,
            refused,
            labels=("served", "refused"),
            colors=("#4c78a8", "#e45756"),
            step="post",
        )
        column[0].set_title(name)
        column[1].step(outcome.looked_at, outcome.ready, where="post", color="#222222")
        column[1].set_xlabel("seconds")
    axes[0, 0].set_ylabel("requests a second, by arrival")
    axes[1, 0].set_ylabel("replicas that serve")
    axes[0, 0].legend(loc="upper right")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    with Image.open(buffer) as picture:
        picture.convert("RGB").save(path, quality=85, method=6)


def line(name: str, outcome: Outcome) -> str:
    """One row of a Markdown table."""
    figures = summary(outcome)
    lost = figures["refused"] + figures["expired"]
    return (
        f"| {name} | {figures['goodput']:.0f} | {figures['p50'] * 1e3:.0f} "
        f"| {figures['p99'] * 1e3:.0f} | {figures['hit_rate']:.0%} | {lost:.1%} "
        f"| {max(outcome.ready)} |"
    )


def main() -> None:
    """Print the tables; make the picture where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="write the flash crowd's picture there (.webp)")
    options = parser.parse_args()
    print("| | goodput/s | p50, ms | p99, ms | hits | refused | replicas, at most |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    outcomes = crowds()
    for name, outcome in outcomes.items():
        print(line(name, outcome), flush=True)
    if options.plot:
        plot(outcomes, options.plot)
    for replicas in (22, 26, 30, 36):
        print(line(f"a million a minute, {replicas}", million(replicas)), flush=True)


if __name__ == "__main__":
    main()
