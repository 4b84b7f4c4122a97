"""Resumable training state on disk: private to training, exact, never half-written.

A snapshot is a folder `snapshots/<images seen>` of safetensors and one `state.json` that names
every file with its sha256. It is written under another name and renamed when it is whole, so a
kill at any moment leaves the one before it. Knows nothing about what the tensors mean.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.errors import SnapshotError

FORMAT_VERSION = 1
STATE = "state.json"


@dataclass(frozen=True)
class Snapshot:
    """Everything a run needs to go on as if it had never stopped."""

    images_seen: int
    step: int
    tensors: dict[str, dict[str, Tensor]]
    """Group name (`generator`, `optimizer_g`, …) → tensor name → tensor."""
    extra: dict[str, Any]
    """Small JSON-able facts."""


def snapshots_folder(run: Path) -> Path:
    """Where a run keeps its snapshots."""
    return run / "snapshots"


def list_snapshots(run: Path) -> list[Path]:
    """Snapshot folders of a run, newest first, whole or not."""
    folder = snapshots_folder(run)
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()]
    return sorted(found, key=lambda p: int(p.name), reverse=True)


def snapshot_folder(run: Path, images_seen: int) -> Path:
    """Where the snapshot at that position is, or would be."""
    return snapshots_folder(run) / f"{images_seen:010d}"


def save_snapshot(run: Path, snapshot: Snapshot, keep: int, protected: int | None = None) -> Path:
    """Write atomically, then drop all but the newest `keep` and that at `protected` images seen.

    Raises SnapshotError (full disk, no permission); what was there before stays untouched.
    """
    folder = snapshots_folder(run)
    final = snapshot_folder(run, snapshot.images_seen)
    partial = folder / f".partial-{final.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        files = {}
        for group, tensors in snapshot.tensors.items():
            path = partial / f"{group}.safetensors"
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path)
            _sync(path)
            files[path.name] = _sha256(path)
        state = {
            "format_version": FORMAT_VERSION,
            "images_seen": snapshot.images_seen,
            "step": snapshot.step,
            "files": files,
            "extra": snapshot.extra,
        }
        (partial / STATE).write_text(json.dumps(state, indent=1))
        _sync(partial / STATE)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SnapshotError(
            f"snapshot {final} cannot be written ({error}): free some space there, then go on with "
            "--resume from the snapshot before it"
        ) from error
    for old in list_snapshots(run)[keep:]:
        if int(old.name) != protected:
            shutil.rmtree(old, ignore_errors=True)
    return final


def load_snapshot(folder: Path) -> Snapshot:
    """Read one snapshot, checking version and every file's sha256.

    Raises SnapshotError naming the file and the reason; nothing damaged is ever returned.
    """
    try:
        state = json.loads((folder / STATE).read_text())
        if state["format_version"] != FORMAT_VERSION:
            raise SnapshotError(
                f"{folder} has format_version {state['format_version']}, this code reads "
                f"{FORMAT_VERSION}: resume it with the version that wrote it"
            )
        tensors = {}
        for name, digest in state["files"].items():
            if _sha256(folder / name) != digest:
                raise SnapshotError(f"{folder / name} is damaged (its sha256 differs)")
            tensors[Path(name).stem] = load_file(folder / name)
        return Snapshot(state["images_seen"], state["step"], tensors, state["extra"])
    except FileNotFoundError as error:
        raise SnapshotError(f"{error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SnapshotError(f"{folder} is damaged ({error})") from error


def load_newest(run: Path) -> tuple[Snapshot, list[str]]:
    """The newest whole snapshot of a run, and a sentence on each newer one passed over.

    Raises SnapshotError where the run has none that is whole.
    """
    passed_over: list[str] = []
    for folder in list_snapshots(run):
        try:
            return load_snapshot(folder), passed_over
        except SnapshotError as error:
            passed_over.append(str(error))
    why = "; ".join(passed_over) or f"{snapshots_folder(run)} has none"
    raise SnapshotError(f"no whole snapshot to resume from: {why}. Start the run anew")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as a flat dictionary of tensors."""
    return {
        f"{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; the parameter groups stay as they are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # Fused kernels walk raw memory: the layout (channels last) must be the parameter's.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Onto the disk itself: a rename must not be there before the bytes are."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
