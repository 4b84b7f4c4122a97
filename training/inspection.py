"""A checkpoint and its data → sheets for whoever has to judge it: the worst, the nearest, a quiz.

Measures tell checkpoints apart; these show what is wrong with one. Two of the sheets hold real
pictures: they are for the desk, not for publication. Knows nothing about runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models import Checkpoint, Discriminator, from_pixels, load_checkpoint, load_critic
from training.dataset import Dataset
from training.errors import ConfigError
from training.files import write_files
from training.gallery import render
from training.grids import grid, png_bytes, with_row_names
from training.label_draw import draw_labels, label_vectors
from training.metrics.diversity import boxed, distances_to_sources
from training.metrics.extras import missing
from training.metrics.novelty import likely_sources

LEAST_LIKED, COLUMNS = 64, 8
QUIZ = 32  # pictures of each kind
SUSPECTS, SHOWN = 128, 12  # nearest in pixels, of which those with the nearest faces are shown
SEARCH_SIDE = 16  # pixels at which a picture's likely source is searched


class Samples(NamedTuple):
    """Uncurated pictures of seeds 0 … N − 1, labels as the service draws them."""

    image_NHWC: NDArray[np.uint8]
    score_N: NDArray[np.float64] | None
    """What the critic thinks of each, seen alone; None without one."""


def inspect(
    folder: Path, archive: Path, out: Path, *, samples: int, seed: int = 0
) -> tuple[list[Path], list[str]]:
    """Write the sheets to `out`; returns the files, and what is missing and why.

    `samples`: how many pictures the worst and the nearest are looked for in; `seed` decides the
    quiz. Raises CheckpointError, DatasetError, ConfigError where the labels differ.
    """
    checkpoint, dataset = load_checkpoint(folder), Dataset(archive)
    if samples < LEAST_LIKED:
        raise ConfigError(f"samples is {samples}: at least {LEAST_LIKED} are needed for a sheet")
    critic = load_critic(folder)
    made = draw_samples(checkpoint, critic, samples)
    real_MHWC = dataset.images(checkpoint.config.resolution)
    files, left_out = {}, []
    files["real-or-not.png"], files["real-or-not.txt"] = quiz(made.image_NHWC, real_MHWC, seed)
    if made.score_N is None:
        left_out.append(
            f"No sheet of the least liked: {folder} has no critic (export it with --critic)."
        )
    else:
        files["least-liked.png"], files["least-liked.txt"] = least_liked(made)
    if why := missing("dlib", "face_recognition_models"):
        left_out.append(f"No sheet of the nearest training faces. {why}")
    else:
        files["nearest.png"] = nearest(made.image_NHWC, real_MHWC, dataset.images(SEARCH_SIDE))
    return write_files(out, files), left_out


@torch.inference_mode()
def draw_samples(checkpoint: Checkpoint, critic: Discriminator | None, count: int) -> Samples:
    """Seeds 0 … count − 1 as the service makes them."""
    attributes, joint_prior = checkpoint.attributes, checkpoint.joint_prior
    image_NHWC = render(checkpoint.build(), range(count), attributes, joint_prior)
    if critic is None:
        return Samples(image_NHWC, None)
    index_NA = [draw_labels(seed, attributes, joint_prior) for seed in range(count)]
    y_NL = torch.from_numpy(label_vectors(index_NA, attributes))
    scores = []
    for image_HWC, y_L in zip(image_NHWC, y_NL, strict=True):
        # One by one: the critic compares the pictures of a batch with each other.
        image_BCHW = from_pixels(torch.from_numpy(image_HWC)[None])
        scores.append(float(critic(image_BCHW, y_L[None] if attributes else None)))
    return Samples(image_NHWC, np.array(scores))


def least_liked(made: Samples) -> tuple[bytes, bytes]:
    """A sheet of the pictures with the lowest scores, lowest first, and their seeds as text."""
    assert made.score_N is not None
    order_N = np.argsort(made.score_N, kind="stable")[:LEAST_LIKED]
    sheet = grid(made.image_NHWC[order_N], COLUMNS, _scale(made.image_NHWC))
    lines = [f"seed {seed}: {made.score_N[seed]:.2f}" for seed in order_N]
    return png_bytes(sheet), ("\n".join(lines) + "\n").encode()


def quiz(
    image_NHWC: NDArray[np.uint8], real_MHWC: NDArray[np.uint8], seed: int
) -> tuple[bytes, bytes]:
    """Real and generated pictures, mixed, and the solution as text, a line for each row."""
    rng = np.random.default_rng(seed)
    count = min(QUIZ, len(real_MHWC))
    made = image_NHWC[rng.choice(len(image_NHWC), count, replace=False)]
    real = real_MHWC[np.sort(rng.choice(len(real_MHWC), count, replace=False))]
    order = rng.permutation(2 * count)
    sheet = grid(np.concatenate([made, real])[order], COLUMNS, _scale(image_NHWC))
    solution = ["real" if place >= count else "made" for place in order]
    rows = [" ".join(solution[i : i + COLUMNS]) for i in range(0, len(solution), COLUMNS)]
    return png_bytes(sheet), ("\n".join(rows) + "\n").encode()


def nearest(
    image_NHWC: NDArray[np.uint8],
    real_MHWC: NDArray[np.uint8],
    small_MHWC: NDArray[np.uint8],
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float64]] | None = None,
) -> bytes:
    """The samples whose faces are nearest to a training face, each beside that, with distances.

    `embed`: one picture → its face as a point; dlib's where None. `small_MHWC`: the training
    pictures at SEARCH_SIDE.
    """
    embed = embed or _embedding
    small_NHWC = boxed(image_NHWC, small_MHWC.shape[1]).round().astype(np.uint8)
    source_N = likely_sources(small_NHWC, small_MHWC)
    pixels_N = distances_to_sources(small_NHWC, small_MHWC[source_N])
    suspects = np.argsort(pixels_N, kind="stable")[:SUSPECTS]
    distances = [
        float(np.linalg.norm(embed(image_NHWC[i]) - embed(real_MHWC[source_N[i]])))
        for i in suspects
    ]
    chosen = np.argsort(distances, kind="stable")[:SHOWN]
    pairs = [p for k in chosen for p in (image_NHWC[suspects[k]], real_MHWC[source_N[suspects[k]]])]
    names = [f"seed {suspects[k]}: {distances[k]:.2f}" for k in chosen]
    return png_bytes(with_row_names(grid(np.stack(pairs), 2, _scale(image_NHWC)), names))


def _embedding(image_HWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    from training.metrics.faces import embed_face, find_face  # only where dlib is installed

    return embed_face(find_face(image_HWC))


def _scale(image_NHWC: NDArray[np.uint8]) -> int:
    """Small pictures are enlarged to about 128 pixels."""
    return max(1, 128 // image_NHWC.shape[1])
