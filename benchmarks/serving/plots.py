"""The report of `python -m benchmarks.serving` and that of the ladder as one picture.

python -m benchmarks.serving.plots serving.json ladder.json docs/pictures/serving.webp
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter
from PIL import Image

OURS, THEIRS = "#3b6fd4", "#9aa3ad"


def throughput(axes: Axes, report: dict[str, Any]) -> None:
    """New faces a second at 64 clients, each server's, with the spread of its rounds."""
    rows = _servers(report)
    names = sorted(rows, key=lambda name: rows[name]["rate"])
    rates = [rows[name]["rate"] for name in names]
    spread = [[rows[n]["rate"] - rows[n]["low"] for n in names],
              [rows[n]["high"] - rows[n]["rate"] for n in names]]  # fmt: skip
    axes.barh(names, rates, xerr=spread, color=[OURS if n == "ours" else THEIRS for n in names])
    bare = max(v for name, v in report["bare"].items() if name.startswith("engine auto"))
    axes.axvline(bare, color="black", linewidth=1, linestyle=":")
    axes.annotate("bare engine", (bare, -0.4), rotation=90, fontsize=7, ha="right")
    axes.set_title("New faces a second, 64 clients")


def latency(axes: Axes, report: dict[str, Any]) -> None:
    """p50 and p99 at 64 clients, each server's."""
    ticks = [100, 200, 500, 1000, 2000]
    rows = _servers(report)
    for name, row in rows.items():
        colour = OURS if name == "ours" else THEIRS
        axes.plot([row["p50"] * 1e3, row["p99"] * 1e3], [name, name], color=colour, marker="o")
    axes.set_xscale("log")
    axes.set_xticks(ticks, map(str, ticks))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("p50 to p99 in ms, 64 clients")


def overload(axes: Axes, report: dict[str, Any]) -> None:
    """Goodput over capacity against offered over capacity, in an open loop.

    Without servers that failed requests in the closed loop: their capacity comes out too low.
    """
    rows = _servers(report)
    for name, row in rows.items():
        if row["failed"]:
            continue
        points = sorted(
            (float(key.rsplit(", ", 1)[1]), result["rate"] / row["rate"])
            for key, result in report["open"].items()
            if key.startswith(f"{name}, ")
        )
        if points:
            colour = OURS if name == "ours" else THEIRS
            axes.plot(*zip(*points, strict=True), marker="o", color=colour)
            axes.annotate(name, points[-1], fontsize=7, xytext=(4, 0), textcoords="offset points")
    axes.set_xlim(0.3, 2.6)
    axes.set_title("Goodput by offered load, both over capacity")


def ladder(axes: Axes, report: dict[str, Any]) -> None:
    """Pictures a second by resolution: the bare engine and the service."""
    sides = sorted(map(int, report))
    for name, colour in (("engine", "black"), ("service", OURS)):
        axes.plot(
            sides, [report[str(s)][name] for s in sides], marker="o", label=name, color=colour
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(sides, [f"{side} px" for side in sides])
    axes.legend()
    axes.set_title("Pictures a second by resolution")


def _servers(report: dict[str, Any]) -> dict[str, Any]:
    """Name → its row at 64 clients, of the servers that could be measured."""
    closed = report["closed"]
    return {
        name: rows["64"] for name, rows in closed.items() if isinstance(rows, dict) and "64" in rows
    }


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("serving", type=Path)
    parser.add_argument("ladder", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    serving, rungs = (json.loads(p.read_text()) for p in (options.serving, options.ladder))
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for draw, place, report in zip(
        (throughput, latency, overload, ladder),
        axes.flat,
        (serving, serving, serving, rungs),
        strict=True,
    ):
        draw(place, report)
        place.spines[["top", "right"]].set_visible(False)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    picture.save(options.picture, quality=90, method=6)


if __name__ == "__main__":
    main()
