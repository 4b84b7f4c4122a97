"""A checkpoint and a dataset archive → one table: every measure, beside the same on real pictures.

Three sets of equal size: generated pictures, a reference of real ones, and other real ones that
stand where the generated ones do, so that each figure has the figure of perfection beside it. It
knows nothing of training runs; the measures know nothing of checkpoints.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import Checkpoint, load_checkpoint, to_pixels
from training.dataset import Dataset
from training.errors import EvaluationError
from training.metrics.compare import measure
from training.metrics.face_figures import nearest_to_training
from training.metrics.features import Advance
from training.metrics.groups import compare_groups
from training.metrics.sets import SetBuilder, available_judges

FORMAT_VERSION = 1
FEWEST = 20  # samples below which no figure means anything
BATCH = 50
WORST_GROUPS = 5  # shown on the terminal; all are in the report

Progress = Callable[[int, int], None]  # pictures looked at, of how many


def evaluate_checkpoint(
    checkpoint_folder: Path,
    archive: Path,
    *,
    samples: int = 500,
    seed: int = 0,
    inception: Path | None = None,
    report: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures `samples` uncurated pictures, seeds 0 … samples − 1, against real ones.

    `seed` decides which real pictures and which labels, drawn from the training set's
    distribution; `inception` is a file of Inception's weights. The result, also written to
    `report` as JSON, names checkpoint and data set and lists the measures: name, generated, real
    (the baseline), samples, better, method; `groups`, how faces and labels do in each group of
    labels (see training/metrics/groups.py); `nearest_to_training`, seeds to look at; and in
    `left_out` why others were not taken.
    Raises CheckpointError, DatasetError or EvaluationError.
    """
    checkpoint, dataset = load_checkpoint(checkpoint_folder), Dataset(archive)
    if not FEWEST <= samples <= len(dataset) // 2:
        raise EvaluationError(
            f"{samples} samples cannot be measured against {archive}, which has {len(dataset)} "
            f"pictures: choose from {FEWEST} to half of that, with a larger archive if need be."
        )
    judges = available_judges(inception)
    rng = np.random.default_rng(seed)
    index_NA = draw_labels(checkpoint, samples, rng)
    reference_N, held_out_N = np.split(rng.permutation(len(dataset))[: 2 * samples], 2)
    advance = _counter(judges.looks(samples), progress)
    build = SetBuilder(dataset, checkpoint.config.resolution, judges, advance)
    generated = build.generated(generate(checkpoint, index_NA), index_NA, checkpoint.attributes)
    reference, held_out = build.real(reference_N), build.real(held_out_N)

    of_generated = measure(generated, reference)
    of_real = {figure.name: figure for figure in measure(held_out, reference)}
    result = {
        "format_version": FORMAT_VERSION,
        "checkpoint": {"name": checkpoint.name, "digest": checkpoint.digest},
        "dataset": {"name": dataset.name, "digest": dataset.digest},
        "resolution": checkpoint.config.resolution,
        "seed": seed,
        "measures": [
            {
                "name": figure.name,
                "generated": figure.value,
                "real": of_real[figure.name].value,
                "samples": figure.samples,
                "better": figure.better,
                "method": figure.method,
            }
            for figure in of_generated
            if figure.name in of_real  # the archive may lack an attribute, or a label pictures
        ],
        "groups": compare_groups(generated, [reference, held_out]),
        "nearest_to_training": [
            {"seed": row, "labels": _labels(checkpoint, index_NA[row]), "distance": distance}
            for row, distance in nearest_to_training(generated, reference)
        ],
        "left_out": judges.left_out,
    }
    if report is not None:
        _write(report, result)
    return result


def summary(result: Mapping[str, Any]) -> str:
    """The result as a table for the terminal."""
    width = max(len(measure["name"]) for measure in result["measures"])
    lines = [f"{'':{width}}  generated     real  samples  better"]
    lines += [
        f"{m['name']:{width}}  {m['generated']:9.4g}{m['real']:9.4g}{m['samples']:9}  {m['better']}"
        for m in result["measures"]
    ]
    nearest = ", ".join(
        f"{face['seed']} ({face['distance']:.2f})" for face in result["nearest_to_training"]
    )
    look = [f"nearest to training faces, by seed: {nearest}"] if nearest else []
    return "\n".join([*lines, *_worst_groups(result["groups"]), *look, *result["left_out"]])


def _worst_groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The groups that are farthest behind real pictures of theirs, a line each."""
    behind = sorted(
        (
            (share["generated"] - share["real"], asked, group, share)
            for group in groups
            for asked, share in group["shares"].items()
        ),
        key=lambda row: row[0],
    )
    return [
        f"{group['group']}: {asked} in {share['generated']:.0f} % of "
        f"{group['samples']['generated']}, in {share['real']:.0f} % of real ones"
        for points, asked, group, share in behind[:WORST_GROUPS]
        if points < 0
    ]


def _labels(checkpoint: Checkpoint, index_A: NDArray[np.int64]) -> dict[str, str]:
    return {a.name: a.values[i] for a, i in zip(checkpoint.attributes, index_A, strict=True)}


def draw_labels(checkpoint: Checkpoint, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Value indices index_NA as they fall in the training set."""
    if checkpoint.joint_prior is not None:
        joint = checkpoint.joint_prior
        drawn_N = rng.choice(joint.size, count, p=joint.ravel() / joint.sum())
        return np.stack(np.unravel_index(drawn_N, joint.shape), axis=1).astype(np.int64)
    columns = [
        rng.choice(len(a.values), count, p=np.array(a.prior) / sum(a.prior))
        for a in checkpoint.attributes
    ]
    return np.array(columns, np.int64).reshape(len(columns), count).T


@torch.inference_mode()
def generate(checkpoint: Checkpoint, index_NA: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Pictures image_NHWC of seeds 0 … N − 1 with the labels given."""
    generator = checkpoint.build().fold()
    latent_dim = checkpoint.config.latent_dim
    z_NZ = np.stack([np.random.RandomState(i).randn(latent_dim) for i in range(len(index_NA))])
    one_hots = [
        np.eye(len(attribute.values), dtype=np.float32)[index_NA[:, column]]
        for column, attribute in enumerate(checkpoint.attributes)
    ]
    batches = []
    for start in range(0, len(z_NZ), BATCH):
        rows = slice(start, start + BATCH)
        z_BZ = torch.from_numpy(z_NZ[rows].astype(np.float32))
        y_BL = (
            torch.from_numpy(np.concatenate([h[rows] for h in one_hots], axis=1))
            if one_hots
            else None
        )
        batches.append(to_pixels(generator(z_BZ, y_BL)).numpy())
    return np.concatenate(batches)


def _counter(total: int, progress: Progress | None) -> Advance:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return advance


def _write(report: Path, result: Mapping[str, Any]) -> None:
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    partial = report.with_name(f".{report.name}.{os.getpid()}.partial")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(report)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise EvaluationError(
            f"The report {report} cannot be written ({error.strerror or error}): name a file in a "
            "folder where you may write."
        ) from error
