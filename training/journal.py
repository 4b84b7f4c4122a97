"""What a run tells people while it goes: metrics.jsonl, TensorBoard, sample grids, a progress bar.

Knows nothing about networks: it is handed numbers and pictures.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training.diagnostics import NotFiniteError, diagnose
from training.grids import grid
from training.schedule import Phase

QUIET_ROWS = 25
"""A trouble seen within this many rows is not said again."""


class Window:
    """Running means of scalars since the last time they were taken."""

    def __init__(self, images_seen: int = 0) -> None:
        self._since = images_seen
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add one value of each; they stay on their device until they are asked for."""
        for name, value in scalars.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self, images_seen: int) -> dict[str, float]:
        """The means, and start anew. Raises NotFiniteError naming what went wrong where."""
        means = {name: value / self._counts[name] for name, value in self._check(images_seen)}
        self._since = images_seen
        self._sums.clear()
        self._counts.clear()
        return means

    def to_dict(self, images_seen: int) -> dict[str, Any]:
        """JSON-able, for a snapshot between two lines of the log. Raises NotFiniteError."""
        sums = dict(self._check(images_seen))
        return {"since": self._since, "sums": sums, "counts": dict(self._counts)}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from `to_dict`."""
        self._since, self._counts = data["since"], dict(data["counts"])
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in data["sums"].items()
        }

    def _check(self, images_seen: int) -> list[tuple[str, float]]:
        sums = [(name, total.item()) for name, total in self._sums.items()]
        bad = [name for name, value in sums if not math.isfinite(value)]
        if bad:
            raise NotFiniteError(", ".join(bad), images_seen, self._since)
        return sums


class Journal:
    """Open for the length of a run; everything after `images_seen` in older logs is cut off."""

    def __init__(self, run: Path, total_images: int, images_seen: int, console: Console) -> None:
        self._run, self._total, self._console = run, total_images, console
        self._metrics = run / "metrics.jsonl"
        self._rows = _truncate(self._metrics, images_seen)
        (run / "samples").mkdir(exist_ok=True)
        self._board = SummaryWriter(
            str(run / "tensorboard"), purge_step=images_seen if images_seen else None
        )
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total_images, completed=images_seen, rate=0.0)
        self._since, self._since_images = time.perf_counter(), images_seen

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        self._board.close()

    def say(self, sentence: str) -> None:
        """One plain line on the console."""
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def log(self, images_seen: int, phase: Phase, scalars: Mapping[str, float]) -> None:
        """One line in metrics.jsonl, the same in TensorBoard, and the bar moved on.

        What looks wrong is in the line too, and said on the console when it begins.
        """
        now = time.perf_counter()
        rate = (images_seen - self._since_images) / max(now - self._since, 1e-9)
        self._since, self._since_images = now, images_seen
        row: dict[str, Any] = {
            "images_seen": images_seen,
            "resolution": phase.resolution,
            "alpha": round(phase.alpha, 4),
            "learning_rate": phase.learning_rate,
            "images_per_second": round(rate, 2),
            **{name: round(value, 6) for name, value in scalars.items()},
        }
        troubles = self._diagnose(row)
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name not in ("images_seen", "troubles"):
                self._board.add_scalar(name, value, images_seen)
        for sentence in troubles:
            self._board.add_text("troubles", sentence, images_seen)
        label = f"{phase.resolution} px" + (f" α {phase.alpha:.2f}" if phase.alpha < 1 else "")
        self._bar.update(self._task, completed=images_seen, description=label, rate=rate)
        if not self._console.is_terminal:
            left = max(self._total - images_seen, 0) / max(rate, 1e-9)
            self.say(
                f"{images_seen / 1000:8.1f} kimg  {label:14}  {rate:6.0f} images/s  "
                f"{left / 60:5.0f} min left  "
                + "  ".join(f"{k} {value:.3f}" for k, value in scalars.items() if "/" not in k)
            )
        for sentence in troubles:
            self.say(sentence)

    def _diagnose(self, row: dict[str, Any]) -> list[str]:
        """Add the row to the history and its troubles to the row; sentences on the new ones."""
        self._rows.append(row)
        found = diagnose(self._rows)
        known = {name for old in self._rows[-QUIET_ROWS:-1] for name in old.get("troubles", ())}
        row["troubles"] = sorted(found)
        return [sentence for name, sentence in found.items() if name not in known]

    def samples(self, images_seen: int, image_NHWC: NDArray[np.uint8], full: int) -> None:
        """Save a grid, enlarged to the size of `full`-pixel pictures."""
        path = self._run / "samples" / f"{images_seen // 1000:06d}k.png"
        columns = math.ceil(math.sqrt(len(image_NHWC)))
        sheet = grid(image_NHWC, columns, scale=max(full // image_NHWC.shape[1], 1))
        sheet.save(path)
        self._board.add_image("samples", np.asarray(sheet), images_seen, dataformats="HWC")


class SilentJournal(Journal):
    """What the processes that do not lead a run have: nothing is written or said."""

    def __init__(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def say(self, sentence: str) -> None: ...

    def log(self, images_seen: int, phase: Phase, scalars: Mapping[str, float]) -> None: ...

    def samples(self, images_seen: int, image_NHWC: NDArray[np.uint8], full: int) -> None: ...


def _truncate(metrics: Path, images_seen: int) -> list[dict[str, Any]]:
    """Drop lines after the snapshot that is resumed and any cut-off one; return what stays."""
    if not metrics.is_file():
        return []
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            if row["images_seen"] <= images_seen:
                kept.append(row)
        except (ValueError, KeyError, TypeError):
            continue
    partial = metrics.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    partial.rename(metrics)
    return kept
