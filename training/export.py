"""A run's newest snapshot (+ its evaluation) → a checkpoint that the service can load.

Exports the averaged generator with provenance, model card and an uncurated grid. Knows nothing
about how the run was trained beyond what its folder says.
"""

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import Attribute, Checkpoint, Generator, save_checkpoint, to_pixels
from training.card import model_card
from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.grids import grid, png_bytes
from training.schedule import phase_at
from training.snapshot import Snapshot, load_newest
from training.state import fixed_latents

GRID_SEEDS = range(64)
GRID_SCALE = 2


def export(
    run: Path,
    folder: Path,
    *,
    config: TrainConfig,
    dataset: Dataset,
    licence: str,
    evaluation: Path | None = None,
    dtype: torch.dtype = torch.float16,
) -> Checkpoint:
    """Write the checkpoint `folder` from the run's newest whole snapshot.

    Raises SnapshotError where there is none or it has not grown to full resolution, ConfigError
    for an unreadable evaluation, CheckpointError where the folder cannot be written.
    """
    snapshot, _ = load_newest(run)
    _check_grown(run, snapshot, config)
    generator = Generator(config.network.generator(dataset.label_dim))
    generator.load_state_dict(snapshot.tensors["average"])
    generator.eval().requires_grad_(False)
    attributes, joint_prior = dataset.attributes(), dataset.joint_prior()
    provenance = {
        "git_commit": _git_commit(),
        "preset": config.preset,
        "training": config.to_dict(),
        "dataset": {"name": dataset.name, "digest": dataset.digest, "pictures": len(dataset)},
        "images_seen": snapshot.images_seen,
        "hardware": _hardware(),
        "torch": torch.__version__,
        "metrics": _read_evaluation(evaluation),
        "licence": licence,
    }
    pixels = _grid_pixels(generator, attributes, joint_prior)
    return save_checkpoint(
        folder,
        generator=generator,
        attributes=attributes,
        joint_prior=joint_prior,
        provenance=provenance,
        readme=model_card(folder.name, generator, attributes, provenance),
        samples_png=png_bytes(grid(pixels, columns=8, scale=GRID_SCALE)),
        dtype=dtype,
    )


def _check_grown(run: Path, snapshot: Snapshot, config: TrainConfig) -> None:
    phase = phase_at(snapshot.images_seen, config)
    if phase.resolution < config.network.resolution or phase.alpha < 1:
        raise SnapshotError(
            f"{run} has only reached {phase.resolution} px (alpha {phase.alpha:.2f}) of "
            f"{config.network.resolution} px: train on with --resume, then export"
        )


@torch.inference_mode()
def _grid_pixels(
    generator: Generator,
    attributes: tuple[Attribute, ...],
    joint_prior: NDArray[np.float64] | None,
) -> NDArray[np.uint8]:
    """Pictures of seeds 0 … 63, labels as they fall in the training set; nothing is picked."""
    z_NZ = fixed_latents(GRID_SEEDS, generator.config.latent_dim)
    y_NL = None
    if joint_prior is not None:
        random = np.random.default_rng(0)
        drawn = random.choice(joint_prior.size, size=len(GRID_SEEDS), p=joint_prior.ravel())
        index_AN = np.unravel_index(drawn, joint_prior.shape)
        parts = [
            np.eye(len(attribute.values), dtype=np.float32)[index_N]
            for attribute, index_N in zip(attributes, index_AN, strict=True)
        ]
        y_NL = torch.from_numpy(np.concatenate(parts, axis=1))
    pixels: NDArray[np.uint8] = to_pixels(generator(z_NZ, y_NL)).numpy()
    return pixels


def _read_evaluation(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"evaluation {path} cannot be read ({error}): "
            "make it with `python -m training evaluate`"
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(f"evaluation {path} is not a JSON object")
    return data


def _git_commit() -> str | None:
    """Commit of this code, `-dirty` where it was changed since; None outside a checkout."""
    root = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _hardware() -> str:
    """Processor, or GPU where there is one, of the machine that exports."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} cores of {model}"
