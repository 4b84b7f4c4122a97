"""Which machines a run was trained on, as its folder remembers it. Knows nothing about networks."""

import json
import platform
from pathlib import Path
from typing import Any

import torch

from training.errors import ConfigError
from training.run_folder import write_json

MACHINES = "machines.json"


def this_machine(device: torch.device) -> str:
    """The GPU, or how many cores of which processor, and by which torch."""
    return f"{_processor(device)} (torch {torch.__version__})"


def note_machine(run: Path, images_seen: int, hardware: str, processes: int = 1) -> None:
    """That the run goes on there from so many images; what was noted of later ones is dropped.

    Raises ConfigError where the notes cannot be read or written.
    """
    if processes > 1:
        hardware = f"{processes} × {hardware}"
    notes = [note for note in _read(run) or [] if note["images_seen"] < images_seen]
    if not notes or notes[-1]["hardware"] != hardware:
        notes.append({"images_seen": images_seen, "hardware": hardware})
    path = run / MACHINES
    try:
        write_json(path, notes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}): make it writable") from error


def machines_of(run: Path) -> str | None:
    """All of them in a phrase, in their order; None where a run is older than such notes.

    Raises ConfigError where the notes cannot be read.
    """
    notes = _read(run)
    if not notes:
        return None
    return ", ".join(
        n["hardware"] + (f" from {n['images_seen'] / 1000:.1f} kimg on" if n["images_seen"] else "")
        for n in notes
    )


def _read(run: Path) -> list[dict[str, Any]] | None:
    path = run / MACHINES
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        return [
            {"images_seen": int(n["images_seen"]), "hardware": str(n["hardware"])} for n in notes
        ]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it, or delete it") from error


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} cores of {model}"
