"""The bare engine and the service in turns, for machines whose pace changes by the minute.

    python -m benchmarks.serving.paired [CHECKPOINT …] [--rounds 8] [--seconds 4] [--overload]
        [--eager] [--report F.json]

Each round is the bare engine at its best batch, then the service with new faces at 64 clients (wrk,
on the same cores), and one client's faces in turns with bare pictures. With --overload, also twice
as many arrivals a second as those 64 got (open loop, Poisson), and how many of them were answered
within 2 s, as a share of what 64 clients got before and after. With --eager, how many times as fast
as torch eager in fp32 the engine is (`auto` and `fp32`, 1 and 8 pictures), in turns as well. What
is told is the median of the rounds' ratios, lowest and highest in brackets (of turns beside eager:
what a tenth of them are below and above): a machine that slows down between rounds slows both.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch

from benchmarks.serving.load import closed_loop, per_second
from benchmarks.serving.open_loop import open_loop
from benchmarks.serving.servers import ROOT, Ask, service
from benchmarks.serving.turns import added_latency, in_turns
from models import load_checkpoint
from service.engine import load_engine

SHIPPED = [ROOT / "models" / "checkpoints" / name for name in ("faces-64", "faces-128")]
NEW_FACE = Ask("/v1/faces/SEED.png")
BATCHES = (8, 64)
CLIENTS = 64
DEADLINE = 2.0
"""Seconds in which an answer is good under overload."""
EAGER_BATCHES = (1, 8)


def measure(
    checkpoint: Path, rounds: int, seconds: float, *, overload: bool
) -> dict[str, list[float]]:
    """Of each round: images/s of the bare engine and of the service, their ratio, and the
    milliseconds that HTTP and PNG add for one client, in the median."""
    engine = load_engine(checkpoint, threads=torch.get_num_threads())
    random, spec = np.random.default_rng(0), engine.spec
    z = random.standard_normal((max(BATCHES), spec.latent_dim)).astype(np.float32)
    y = np.zeros((len(z), spec.space.label_dim), np.float32)

    def bare(count: int) -> float:
        return per_second(lambda: engine.generate(z[:count], y[:count]), count, seconds / 2)

    rows: dict[str, list[float]] = {"bare": [], "service": [], "ratio": [], "added ms": []}
    # It is told how long its clients wait, as an operator would.
    with service(checkpoint, reservoir=0, deadline=DEADLINE) as running:
        closed_loop(running.url, NEW_FACE, CLIENTS, seconds)
        for _ in range(rounds):
            # Before and after the service: what changes meanwhile counts half.
            before = max(bare(count) for count in BATCHES)
            one = added_latency(
                running.url, NEW_FACE, lambda: engine.generate(z[:1], y[:1]), seconds
            )
            many = closed_loop(running.url, NEW_FACE, CLIENTS, seconds)
            rate = (before + max(bare(count) for count in BATCHES)) / 2
            assert not many.failed, "requests failed"
            rows["bare"].append(rate)
            rows["service"].append(many.rate)
            rows["ratio"].append(many.rate / rate)
            rows["added ms"].append(statistics.median(one) * 1e3)
            if overload:
                flood = open_loop(running.url, NEW_FACE, 2 * many.rate, 2 * seconds, DEADLINE)
                after = closed_loop(running.url, NEW_FACE, CLIENTS, seconds)
                share = 2 * flood.rate / (many.rate + after.rate)
                rows.setdefault("goodput", []).append(share)
                rows.setdefault("too late", []).append(flood.failed / (flood.offered * 2 * seconds))
                rows.setdefault("load", []).append(flood.processor)
    return rows


def against_eager(checkpoint: Path, seconds: float) -> dict[str, list[float]]:
    """How many times as fast as torch eager in fp32, its network not folded, the engine is, by
    precision and batch."""
    loaded = load_checkpoint(checkpoint)
    eager, random = loaded.build(), np.random.default_rng(0)
    engines = {
        precision: load_engine(checkpoint, precision=precision, threads=torch.get_num_threads())
        for precision in ("auto", "fp32")
    }
    rows = {}
    for count in EAGER_BATCHES:
        z = random.standard_normal((count, loaded.config.latent_dim)).astype(np.float32)
        y = np.zeros((count, loaded.config.label_dim), np.float32)

        def by_torch(z=z, y=y) -> None:
            with torch.inference_mode():
                eager(torch.from_numpy(z), torch.from_numpy(y) if y.size else None)

        calls = [lambda e=e, z=z, y=y: e.generate(z, y) for e in engines.values()]
        turns = in_turns([by_torch, *calls], seconds)
        for place, precision in enumerate(engines, 1):
            rows[f"{precision} {count}"] = [turn[0] / turn[place] for turn in turns]
    return rows


def main() -> None:
    """Measure each checkpoint, print it, and write a JSON where one is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="*", default=SHIPPED)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    report = {}
    for checkpoint in options.checkpoints:
        rows = report[checkpoint.name] = measure(
            checkpoint.resolve(), options.rounds, options.seconds, overload=options.overload
        )
        for name, values in rows.items():
            _print(checkpoint.name, name, values, min(values), max(values))
        if options.eager:
            turns = against_eager(checkpoint, 5 * options.seconds)
            for name, values in turns.items():
                _print(checkpoint.name, name, values, *np.percentile(values, [10, 90]))
            rows |= turns
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _print(checkpoint: str, what: str, values: list[float], low: float, high: float) -> None:
    middle = statistics.median(values)
    print(f"{checkpoint:12} {what:9} {middle:8.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
