"""One run, one table: the bare generator, our service, and the same generator behind other servers.

    python -m benchmarks.serving [--quick] [--only ray] [--peers-python .venv-bench/bin/python]

All on this machine, the load made by wrk on the same cores, rounds interleaved: read the ratios.
"""

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from benchmarks.serving.load import closed_loop, per_second
from benchmarks.serving.open_loop import open_loop
from benchmarks.serving.servers import ASKS, Ask, Running, peer, service
from models import load_checkpoint
from service.engine import load_engine

CHECKPOINT = Path(__file__).resolve().parents[2] / "models" / "checkpoints" / "faces-64"
NEW_FACE = Ask("/v1/faces/SEED.png")
BATCHES = (1, 8, 64)
LOADS = (0.5, 0.9, 2.0)
"""Of a server's own capacity, by arrivals that do not wait for answers."""


def bare(checkpoint: Path, seconds: float) -> dict[str, float]:
    """Pictures a second without any server: torch eager, and each engine."""
    loaded = load_checkpoint(checkpoint)
    config, figures = loaded.config, {}
    random = np.random.default_rng(0)
    z = {n: random.standard_normal((n, config.latent_dim)).astype(np.float32) for n in BATCHES}
    y = {n: np.zeros((n, config.label_dim), np.float32) for n in BATCHES}
    eager = loaded.build()
    for n in (1, 8):
        label = torch.from_numpy(y[n]) if config.label_dim else None
        with torch.inference_mode():
            figures[f"torch eager fp32, {n}"] = per_second(
                lambda n=n, label=label: eager(torch.from_numpy(z[n]), label), n, seconds
            )
    threads = torch.get_num_threads()
    for precision in ("auto", "fp32"):
        engine = load_engine(checkpoint, precision=precision, threads=threads)
        for n in BATCHES:
            figures[f"engine {precision}, {n}"] = per_second(
                lambda n=n, engine=engine: engine.generate(z[n], y[n]), n, seconds
            )
    return figures


def closed(servers: dict[str, tuple[Running, Ask]], clients: int, seconds: float, rounds: int):
    """Name → median rate, p50 and p99, and the spread of the rate, over interleaved rounds."""
    results = {name: [] for name in servers}
    for running, ask in servers.values():
        closed_loop(running.url, ask, clients, 1)  # warms up
    for _ in range(rounds):
        for name, (running, ask) in servers.items():
            results[name].append(closed_loop(running.url, ask, clients, seconds))
    return {
        name: {
            "rate": statistics.median(r.rate for r in row),
            "low": min(r.rate for r in row),
            "high": max(r.rate for r in row),
            "p50": statistics.median(r.p50 for r in row),
            "p99": statistics.median(r.p99 for r in row),
            "failed": sum(r.failed for r in row),
        }
        for name, row in results.items()
    }


def main() -> None:
    """Measure, print, and write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, one round")
    parser.add_argument("--only", choices=["none", *ASKS], help="just one peer, or none")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--peers-python", type=Path, default=Path(".venv-bench/bin/python"))
    parser.add_argument("--report", type=Path, default=Path("serving.json"))
    options = parser.parse_args()
    seconds, rounds = (2.0, 1) if options.quick else (6.0, 3)
    names = list(ASKS) if options.only is None else [n for n in ASKS if n == options.only]
    options.checkpoint = options.checkpoint.resolve()  # peers have their own working directory
    python = options.peers_python.absolute()
    report: dict = {"bare": bare(options.checkpoint, seconds / 2), "closed": {}, "open": {}}
    for name, rate in report["bare"].items():
        print(f"{name:28} {rate:9.1f} images/s")
    engine = max(report["bare"][f"engine auto, {n}"] for n in BATCHES)
    limit = report["bare"]["engine auto, 1"]

    # Ours, in every way it is asked; each server alone, so that none takes another's cores.
    with service(options.checkpoint) as ours, ExitStack() as stack:
        report["start"] = {"ours": ours.seconds_to_ready}
        own = Path(sys.executable)  # the empty route needs nothing that ours does not
        empty = stack.enter_context(peer("fastapi", options.checkpoint, own))
        for clients in (1, 8, 64):
            kinds = {
                "ours, new face": (ours, NEW_FACE),
                "ours, random": (ours, Ask("/image")),
                "ours, labelled": (ours, Ask("/v1/faces/SEED.png?gender=female")),
                "ours, cached": (ours, Ask("/v1/faces/7.png")),
                "ours, 304": (ours, _unchanged(ours)),
                "empty FastAPI route": (empty, Ask("/empty")),
            }
            rows = closed(kinds, clients, seconds, rounds)
            report["closed"][f"ours, {clients}"] = rows
            print(f"\n{clients} clients")
            for name, row in rows.items():
                is_made = name in ("ours, new face", "ours, random", "ours, labelled")
                base = engine if is_made else rows["empty FastAPI route"]["rate"]
                print(_line(name, row, row["rate"] / base))
        report["resident"] = {"ours": ours.resident()}
    alone = report["closed"]["ours, 1"]["ours, new face"]["p50"] * 1e3
    print(
        f"\none client: {alone - 1e3 / limit:.2f} ms more than the bare engine's {1e3 / limit:.2f}"
    )

    capacity = report["closed"]["ours, 64"]["ours, new face"]["rate"]
    print("\nnew faces, ours and the peers, each alone")
    for name in ["ours", *names]:
        try:
            starting = (
                service(options.checkpoint)
                if name == "ours"
                else peer(name, options.checkpoint, python)
            )
            with starting as running:
                ask = NEW_FACE if name == "ours" else ASKS[name]
                report["start"][name] = running.seconds_to_ready
                rows = {}
                for clients in (1, 64):
                    row = closed({name: (running, ask)}, clients, seconds, rounds)[name]
                    rows[clients] = row
                    print(_line(f"{name}, {clients} clients", row, row["rate"] / capacity))
                report["closed"][name] = rows
                for share in LOADS:
                    rate = share * rows[64]["rate"]
                    result = open_loop(running.url, ask, rate, seconds, deadline=2.0)
                    report["open"][f"{name}, {share}"] = vars(result)
                    print(
                        f"  open loop at {share} of its capacity: goodput "
                        f"{result.rate / rows[64]['rate']:.2f}, p50 {result.p50 * 1e3:.0f} ms, "
                        f"p99 {result.p99 * 1e3:.0f} ms, refused {result.refused} after "
                        f"{result.refused_p50 * 1e3:.0f} ms, failed {result.failed}, "
                        f"the load took {result.processor:.2f} of a core"
                    )
                report["resident"][name] = running.resident()
                print(
                    f"  first face after {running.seconds_to_ready:.1f} s, "
                    f"{report['resident'][name] / 2**20:.0f} MB"
                )
        except (RuntimeError, OSError) as error:
            print(f"{name}: not measured ({error})")
            report["closed"][name] = str(error)
    options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _unchanged(running: Running) -> Ask:
    import urllib.request

    with urllib.request.urlopen(running.url + "/v1/faces/7.png") as answer:
        return Ask("/v1/faces/7.png", headers={"If-None-Match": answer.headers["ETag"]})


def _line(name: str, row: dict, ratio: float) -> str:
    return (
        f"{name:28} {row['rate']:9.1f}/s ({row['low']:.0f} to {row['high']:.0f})  "
        f"p50 {row['p50'] * 1e3:7.2f} ms  p99 {row['p99'] * 1e3:7.2f} ms  ratio {ratio:.2f}"
        + (f"  failed {row['failed']}" if row["failed"] else "")
    )


if __name__ == "__main__":
    main()
