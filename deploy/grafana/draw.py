"""Draw the dashboard once, without Grafana: `draw.py http://127.0.0.1:9090 dashboard.webp`.

Asks Prometheus what the panels of dashboards/visage.json ask, and lays them out as there. Needs
matplotlib and Pillow, as training does. Not Grafana: no zoom, no legend values, fewer units.
"""

import argparse
import io
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from PIL import Image

DASHBOARD = Path(__file__).parent / "dashboards" / "visage.json"
COLUMNS, CELL = 24, 0.62
"""Of Grafana's grid, and inches for one of its cells; a row of it is half as high as wide."""
POINTS = 240
_SUFFIX = {"s": " s", "reqps": "/s", "ops": "/s", "bytes": " B", "percentunit": " %", "short": ""}

Series = tuple[str, list[float], list[float]]
"""Name, seconds since 1970, values."""


def ask(prometheus: str, expr: str, legend: str, seconds: float) -> list[Series]:
    """What a panel's query gave over the last `seconds`. Raises OSError where nobody answers."""
    end = time.time()
    step = max(1.0, seconds / POINTS)
    expr = expr.replace("$__rate_interval", "1m").replace("$instance", ".*")
    asked = {"query": expr, "start": end - seconds, "end": end, "step": step}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # the operator's own
        results = json.load(answer)["data"]["result"]
    found = []
    for result in results:
        times, values = zip(*((float(t), float(v)) for t, v in result["values"]), strict=True)
        found.append((_named(legend, result["metric"]), list(times), list(values)))
    return found


def draw(prometheus: str, seconds: float) -> tuple[Figure, list[str]]:
    """The dashboard, and the titles of the panels that have nothing to show."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(COLUMNS * CELL, rows * CELL / 2), facecolor="#f4f5f5")
    empty = []
    for panel in panels:
        axes = _place(figure, panel["gridPos"], rows)
        if panel["type"] == "row":
            axes.axis("off")
            axes.text(0, 0.5, panel["title"], fontsize=11, fontweight="bold", va="center")
            continue
        axes.set_title(panel["title"], fontsize=8, loc="left")
        series = [
            one
            for target in panel["targets"]
            for one in ask(prometheus, target["expr"], target["legendFormat"], seconds)
        ]
        if not series:
            empty.append(panel["title"])
        unit = panel["fieldConfig"]["defaults"]["unit"]
        (_stat if panel["type"] == "stat" else _lines)(axes, panel, series, unit)
    return figure, empty


def _place(figure: Figure, grid: dict[str, int], rows: int) -> Axes:
    left, bottom = grid["x"] / COLUMNS, 1 - (grid["y"] + grid["h"]) / rows
    width, height = grid["w"] / COLUMNS, grid["h"] / rows
    inner = (left + 0.035, bottom + 0.9 / rows, width - 0.045, height - 2 / rows)
    return figure.add_axes(inner if grid["h"] > 1 else (0.01, bottom, 0.5, height))


def _stat(axes: Axes, panel: dict[str, Any], series: list[Series], unit: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    value = series[0][2][-1] if series else math.nan
    limits = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    passed = [step["color"] for step in limits if step["value"] is None or value >= step["value"]]
    colour = passed[-1] if len(limits) > 1 and passed else "black"
    said = "no data" if math.isnan(value) else _spoken(value, unit)
    axes.text(0.5, 0.5, said, fontsize=18, color=colour, ha="center", va="center")


def _lines(axes: Axes, panel: dict[str, Any], series: list[Series], unit: str) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    scale = 100 if unit == "percentunit" else 1
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    floor: dict[float, float] = {}
    for name, times, values in series:
        scaled = [value * scale for value in values]
        dates = [datetime.fromtimestamp(moment, UTC) for moment in times]
        if stacked:
            below = [floor.get(moment, 0.0) for moment in times]
            scaled = [a + b for a, b in zip(scaled, below, strict=True)]
            axes.fill_between(dates, below, scaled, alpha=0.3)
            floor |= dict(zip(times, scaled, strict=True))
        axes.plot(dates, scaled, linewidth=1, label=name)
    for step in defaults["thresholds"]["steps"][1:]:
        axes.axhline(step["value"] * scale, color=step["color"], linestyle="--", linewidth=0.8)
    axes.set_ylim(bottom=0, top=max(1.3 * axes.get_ylim()[1], 1e-9))  # the names are above
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=6)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}{_SUFFIX[unit]}")
    if unit == "bytes":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 2**20:.0f} MiB")
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    if series:
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), legend)


def _spoken(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    return f"{value:.3g}{_SUFFIX[unit]}"


def main(arguments: Iterator[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prometheus", help="its address, e.g. http://127.0.0.1:9090")
    parser.add_argument("picture", type=Path, help="where to write it: .webp, .png or .jpg")
    parser.add_argument("--minutes", type=float, default=15, help="how far back; 15 at first")
    given = parser.parse_args(arguments)
    figure, empty = draw(given.prometheus.rstrip("/"), given.minutes * 60)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, facecolor=figure.get_facecolor())
    plt.close(figure)
    with Image.open(buffer) as picture:
        picture.convert("RGB").save(given.picture, quality=88, method=6)
    print(f"{given.picture}: {f'nothing to show in {empty}' if empty else 'all panels have data'}")


if __name__ == "__main__":
    main()
