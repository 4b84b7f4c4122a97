"""A run's newest or best snapshot (+ its evaluation) → a checkpoint that the service can load.

Exports the averaged generator with provenance, model card and uncurated pictures. Knows nothing
about how the run was trained beyond what its folder says.
"""

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import Checkpoint, Discriminator, Generator, save_checkpoint, weights_digest
from training.averaging import Averaging
from training.card import model_card
from training.companions import companion_weights
from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.files import write_files
from training.gallery import model_exhibits, render, run_exhibits
from training.grids import grid, png_bytes
from training.machines import machines_of, this_machine
from training.run_folder import best_snapshot, check_trained_on, read_origin
from training.schedule import phase_at
from training.snapshot import Snapshot, load_newest

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
    best: bool = False,
    critic: bool = False,
    reached: bool = False,
    averaging: Averaging | None = None,
    dtype: torch.dtype = torch.float16,
) -> Checkpoint:
    """Write the checkpoint `folder` from the run's newest whole snapshot, or the `best` one.

    With its `critic`, and the discriminators that stood beside it, training can go on from the
    checkpoint, at the cost of as many bytes again.
    `reached`: at the resolution that it has grown to, without the layers for more. `averaging`:
    with another checkpoint of its line; the critic stays the run's. Raises
    SnapshotError where there is none, where the run was trained on other pictures than `dataset`,
    where it has not grown to full resolution and `reached` is not set, or where a resolution is
    fading in; ConfigError for an evaluation that cannot be read or is of other weights, or a
    checkpoint that it cannot be averaged with; CheckpointError where the folder cannot be written.
    """
    check_trained_on(run, dataset)
    snapshot = best_snapshot(run) if best else load_newest(run)[0]
    whole = config.network.resolution
    if reached:
        config = at_reached_resolution(run, snapshot, config)
    check_grown(run, snapshot, config)
    generator = averaged_generator(snapshot, config, dataset.label_dim)
    attributes, joint_prior = dataset.attributes(), dataset.joint_prior()
    if averaging is not None:
        generator = averaging.mean(generator, attributes)
    provenance = {
        "git_commit": _git_commit(),
        "preset": config.preset,
        "training": config.to_dict(),
        "dataset": {"name": dataset.name, "digest": dataset.digest, "pictures": len(dataset)},
        "images_seen": snapshot.images_seen,
        "origin": read_origin(run),
        "averaged_with": averaging and averaging.facts(),
        "hardware": machines_of(run)
        or this_machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "torch": torch.__version__,
        "metrics": evaluation and _read_evaluation(evaluation, weights_digest(generator, dtype)),
        "licence": licence,
    }
    exhibits = [
        *model_exhibits(generator, attributes, joint_prior),
        *run_exhibits(run, whole),
    ]
    captions = {exhibit.file: exhibit.caption for exhibit in exhibits}
    samples = render(generator, GRID_SEEDS, attributes, joint_prior)
    saved = save_checkpoint(
        folder,
        generator=generator,
        attributes=attributes,
        joint_prior=joint_prior,
        provenance=provenance,
        readme=model_card(folder.name, generator, attributes, provenance, captions),
        samples_png=png_bytes(grid(samples, columns=8, scale=GRID_SCALE)),
        critic=discriminator(snapshot, config, dataset.label_dim) if critic else None,
        companions=companion_weights(snapshot) if critic else None,
        dtype=dtype,
    )
    write_files(folder, {exhibit.file: exhibit.data for exhibit in exhibits})
    return saved


def averaged_generator(snapshot: Snapshot, config: TrainConfig, label_dim: int) -> Generator:
    """The averaged generator of a snapshot, ready to be used."""
    generator = Generator(config.network.generator(label_dim))
    generator.load_state_dict(_layers_of(generator, snapshot.tensors["average"]))
    return generator.eval().requires_grad_(False)


def discriminator(snapshot: Snapshot, config: TrainConfig, label_dim: int) -> Discriminator:
    """The discriminator of a snapshot."""
    network = Discriminator(config.network.generator(label_dim), config.conditioning.kind)
    network.load_state_dict(_layers_of(network, snapshot.tensors["discriminator"]))
    return network


def at_reached_resolution(run: Path, snapshot: Snapshot, config: TrainConfig) -> TrainConfig:
    """The run's configuration as if it ended at the resolution that the snapshot has grown to.

    Raises SnapshotError while one fades in: what is below it is on its way out, what it will be
    is not there yet.
    """
    phase = phase_at(snapshot.images_seen, config)
    if phase.alpha < 1:
        raise SnapshotError(
            f"{run} is fading {phase.resolution} px in (alpha {phase.alpha:.2f}): train on with "
            "--resume until it has, then export"
        )
    network = dataclasses.replace(config.network, resolution=phase.resolution)
    schedule = dataclasses.replace(
        config.schedule,
        start_resolution=min(config.schedule.start_resolution, phase.resolution),
    )
    return dataclasses.replace(config, network=network, schedule=schedule)


def check_grown(run: Path, snapshot: Snapshot, config: TrainConfig) -> None:
    """Raises SnapshotError where the full resolution is not reached yet."""
    phase = phase_at(snapshot.images_seen, config)
    if phase.resolution < config.network.resolution or phase.alpha < 1:
        raise SnapshotError(
            f"{run} has only reached {phase.resolution} px (alpha {phase.alpha:.2f}) of "
            f"{config.network.resolution} px: train on with --resume, then export, or export what "
            "it has reached with --reached"
        )


def _layers_of(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `weights` that the network has a place for: it may end at a lower resolution."""
    names = network.state_dict().keys()
    return {name: tensor for name, tensor in weights.items() if name in names}


def _read_evaluation(path: Path, digest: str) -> Mapping[str, Any]:
    """The figures in a file of `evaluate`, of the weights with this `digest` and no others."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"evaluation {path} cannot be read ({error}): "
            "make it with `python -m training evaluate`"
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(f"evaluation {path} is not a JSON object")
    judged = data.get("checkpoint", {}).get("digest", digest)
    if judged != digest:
        raise ConfigError(
            f"evaluation {path} is of weights {judged[:12]}, and these are {digest[:12]}: export "
            "without it, evaluate what came of that, and export again with what was found"
        )
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
