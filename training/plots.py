"""A run's metrics.jsonl → plots of its losses and measures over the images seen.

Needs matplotlib, from the extra `train`; without it a run has everything but these plots. Knows
nothing about what a measure means: it draws every number that it finds.
"""

import importlib.util
import io
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

COLUMNS = 2
PANEL = (5.0, 2.6)  # inches
DPI = 80
_POSITION = ("images_seen", "resolution", "alpha", "learning_rate", "images_per_second")
_LOSSES = (
    *("loss", "score", "r1", "penalty", "gradient", "labels"),
    *(f"{companion}_" for companion in ("features", "patches", "variety")),
)

Rows = list[dict[str, Any]]


def plots_available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def read_metrics(run: Path) -> Rows:
    """The rows of a run's metrics.jsonl that can be read, in order; none where there is no file."""
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            row["images_seen"] + 0  # a row without its place cannot be drawn
        except (ValueError, KeyError, TypeError):
            continue  # the last line may be half-written while a run goes on
        rows.append(row)
    return sorted(rows, key=lambda row: row["images_seen"])


def plot_losses(rows: Rows) -> bytes | None:
    """Losses, scores and penalties as a PNG; None where there are none."""
    return _plot(rows, [name for name in _names(rows) if name.startswith(_LOSSES)])


def plot_measures(rows: Rows) -> bytes | None:
    """Every other number that the run logged, as a PNG; None where there is none."""
    return _plot(rows, [name for name in _names(rows) if not name.startswith(_LOSSES)])


def _names(rows: Rows) -> list[str]:
    """What can be drawn: a finite number in at least two rows."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        for name, value in row.items():
            if name not in _POSITION and _is_number(value):
                counts[name] += 1
    return sorted(name for name, count in counts.items() if count > 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _plot(rows: Rows, names: list[str]) -> bytes | None:
    """One panel per family of names (`loss_d` and `loss_g` share one), under one axis of kimg."""
    if not names:
        return None
    from matplotlib.figure import Figure

    families: dict[str, list[str]] = defaultdict(list)
    for name in names:
        families[name.split("_")[0]].append(name)
    columns = 1 if len(families) <= 3 else COLUMNS
    lines = math.ceil(len(families) / columns)
    figure = Figure((PANEL[0] * columns, PANEL[1] * lines), DPI, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for panel, members in zip(panels, families.values(), strict=False):
        for name in members:
            points = [(r["images_seen"] / 1000, r[name]) for r in rows if _is_number(r.get(name))]
            panel.plot(*zip(*points, strict=True), label=name, linewidth=1)
        _mark_resolutions(panel, rows)
        panel.legend(fontsize="small", loc="upper right", framealpha=0.8)
        panel.margins(x=0)
        panel.grid(alpha=0.2)
    for panel in panels[len(families) :]:
        panel.set_visible(False)
    for panel in panels[max(len(families) - columns, 0) : len(families)]:
        panel.set_xlabel("thousand images seen")
        panel.tick_params(labelbottom=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _mark_resolutions(panel: Any, rows: Rows) -> None:
    """A line where a resolution begins, with its name, and a shade while it fades in."""
    before, faded_from = None, None
    for row in rows:
        kimg, resolution = row["images_seen"] / 1000, row.get("resolution")
        if resolution != before and resolution is not None:
            panel.axvline(kimg, color="0.7", linewidth=0.8)
            panel.annotate(
                f"{resolution} px",
                (kimg, 0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize="x-small",
                color="0.4",
            )
            before = resolution
        fading = row.get("alpha", 1.0) < 1
        if fading and faded_from is None:
            faded_from = kimg
        if faded_from is not None and (not fading or row is rows[-1]):
            panel.axvspan(faded_from, kimg, color="0.5", alpha=0.1, linewidth=0)
            faded_from = None
