"""What is in a run folder beside snapshots and logs: its configuration, its data set, its best.

Knows nothing about networks.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.snapshot import (
    Snapshot,
    list_snapshots,
    load_newest,
    load_snapshot,
    snapshot_folder,
)

CONFIG, DATASET, BEST, ORIGIN = "config.json", "dataset.json", "best.json", "origin.json"


@dataclass(frozen=True)
class Best:
    """The best moment of a run so far, by one measure of which less is better."""

    images_seen: int
    measure: str
    value: float

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "Best | None":
        """From a snapshot's facts; None where there was none yet."""
        return cls(**data) if data else None


def read_run(run: Path) -> TrainConfig:
    """The configuration of an existing run. Raises ConfigError where there is none."""
    path = run / CONFIG
    try:
        return TrainConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(f"{run} holds no run (no config.json): name a run folder") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error


def start_run(
    run: Path, config: TrainConfig, dataset: Dataset, origin: dict[str, Any] | None = None
) -> None:
    """Make the folder of a new run, which may have an `origin` other than fresh weights.

    Raises ConfigError where it holds one already.
    """
    if list_snapshots(run):
        raise ConfigError(f"{run} already holds a run: pass --resume, or choose another folder")
    write_facts(run, config, dataset)
    if origin is None:
        (run / ORIGIN).unlink(missing_ok=True)
    else:
        write_json(run / ORIGIN, origin)


def read_origin(run: Path) -> dict[str, Any] | None:
    """What the run's first weights were, or None where they were fresh. Raises ConfigError."""
    path = run / ORIGIN
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it, or delete it") from error
    return facts


def newest_snapshot(run: Path, dataset: Dataset, console: Console) -> Snapshot:
    """The snapshot to resume from; newer ones that are damaged are named and passed over.

    Raises SnapshotError where there is none, or the run was trained on other pictures.
    """
    check_trained_on(run, dataset)
    snapshot, passed_over = load_newest(run)
    for sentence in passed_over:
        console.print(f"passed over: {sentence}", highlight=False)
    console.print(f"resumed at {snapshot.images_seen / 1000:.1f} kimg", highlight=False)
    return snapshot


def best_before(run: Path, snapshot: Snapshot) -> Best | None:
    """The best moment up to the snapshot; None where there was none, or its own is gone."""
    best = Best.from_dict(snapshot.extra.get("best"))
    # A better one took its place, and was damaged.
    return best if best and snapshot_folder(run, best.images_seen).is_dir() else None


def check_trained_on(run: Path, dataset: Dataset) -> None:
    """Raises SnapshotError where the run was trained on other pictures, or under other labels, and
    ConfigError where the folder does not say."""
    try:
        known = json.loads((run / DATASET).read_text(encoding="utf-8"))
        name, digest = known["name"], known["digest"]
    except FileNotFoundError as error:
        raise ConfigError(f"{run} holds no run (no {DATASET}): name a run folder") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{run / DATASET} cannot be read ({error})") from error
    if digest != dataset.digest:
        raise SnapshotError(
            f"{run} was trained on {name} ({digest[:12]}…), {dataset.archive}"
            " holds other pictures or labels: name the archive it started with"
        )


def write_facts(run: Path, config: TrainConfig, dataset: Dataset) -> None:
    """The resolved configuration and the data set's name. Raises ConfigError."""
    facts = {"name": dataset.name, "digest": dataset.digest, "pictures": len(dataset)}
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / CONFIG, config.to_dict())
        write_json(run / DATASET, facts)
    except OSError as error:
        raise ConfigError(f"{run} cannot be written ({error}): choose another folder") from error


def write_best(run: Path, best: Best | None) -> None:
    """Say which snapshot is the best so far; forget a later one where a run was set back."""
    if best is None:
        (run / BEST).unlink(missing_ok=True)
        return
    folder = snapshot_folder(run, best.images_seen).relative_to(run)
    write_json(run / BEST, {**asdict(best), "snapshot": str(folder)})


def best_snapshot(run: Path) -> Snapshot:
    """The best moment so far. Raises SnapshotError where none was measured, or it is damaged."""
    try:
        folder = run / json.loads((run / BEST).read_text(encoding="utf-8"))["snapshot"]
    except FileNotFoundError as error:
        raise SnapshotError(
            f"{run} has no {BEST}: no figure was taken at full resolution yet; take the newest"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"{run / BEST} cannot be read ({error}): take the newest") from error
    return load_snapshot(folder)


def write_json(path: Path, data: Any) -> None:
    """Appears whole, or not at all. Raises OSError."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=2), encoding="utf-8")
    partial.rename(path)
