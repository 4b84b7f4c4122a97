"""A generator and its run → pictures for people: what each label looks like, a walk, the history.

Everything is uncurated: seeds 0, 1, 2 …, labels by the service's rule. Knows nothing about where
the pictures go: `export` puts them beside a checkpoint, the command `pictures` into a run folder.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models import Attribute, Generator, to_pixels
from training.animation import animated_webp
from training.grids import grid, webp_bytes, with_row_names
from training.label_draw import draw_labels, label_vectors
from training.plots import plot_losses, plot_measures, plots_available, read_metrics
from training.state import fixed_latents
from training.timelapse import timelapse

BATCH = 16  # pictures computed at once
PER_VALUE = 12  # pictures for each value of an attribute
MAX_VALUES = 16  # rows of a sheet; of more values, the most frequent ones
WALKS, STOPS, STEPS = 4, 6, 8  # faces side by side; seeds that each passes; frames between two
WALK_SIDE = 128  # pixels; larger faces are reduced to it
WALK_FRAME_MS = 80


class Exhibit(NamedTuple):
    """A picture with the line that stands under it in a model card."""

    file: str
    caption: str
    data: bytes


def render(
    generator: Generator,
    seeds: range,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
    given: Mapping[str, str] | None = None,
) -> NDArray[np.uint8]:
    """The pictures of the seeds, image_NHWC, as the service draws their latents and labels."""
    index_NA = [draw_labels(seed, attributes, joint_prior, given) for seed in seeds]
    z_NZ = fixed_latents(seeds, generator.config.latent_dim)
    return _images(generator, z_NZ, torch.from_numpy(label_vectors(index_NA, attributes)))


def model_exhibits(
    generator: Generator,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
) -> list[Exhibit]:
    """What the generator makes: a sheet for each attribute, and a walk through its latents."""
    sheets = [
        _label_sheet(generator, attributes, joint_prior, axis) for axis in range(len(attributes))
    ]
    return [*sheets, _latent_walk(generator, attributes, joint_prior)]


def run_exhibits(run: Path, resolution: int) -> list[Exhibit]:
    """How it came about: as much of timelapse and plots as the run folder allows."""
    film = timelapse(run, resolution)
    rows = read_metrics(run) if plots_available() else []
    fades = any(row.get("alpha", 1) < 1 for row in rows)
    grey = "; grey: a resolution fades in" if fades else ""
    found = [
        ("timelapse.webp", "Seeds 0 to 15 through the whole run.", film),
        ("losses.png", f"Losses over the run{grey}.", plot_losses(rows)),
        ("measures.png", f"Other measures over the run{grey}.", plot_measures(rows)),
    ]
    return [Exhibit(file, caption, data) for file, caption, data in found if data is not None]


def _label_sheet(
    generator: Generator,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
    axis: int,
) -> Exhibit:
    """A row for each value of one attribute: the same seeds, the other attributes drawn by them."""
    attribute = attributes[axis]
    frequent = np.argsort(attribute.prior, kind="stable")[::-1][:MAX_VALUES]
    values = [attribute.values[i] for i in sorted(frequent)]
    seeds = range(PER_VALUE)
    rows = [
        render(generator, seeds, attributes, joint_prior, {attribute.name: value})
        for value in values
    ]
    sheet = with_row_names(grid(np.concatenate(rows), PER_VALUE), values)
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,40}", attribute.name)
    return Exhibit(
        f"labels-{attribute.name if plain else axis + 1}.webp",
        f"Seeds 0 to {PER_VALUE - 1} for each value of `{attribute.name}`, uncurated.",
        webp_bytes(sheet),
    )


def _latent_walk(
    generator: Generator,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
) -> Exhibit:
    """Several faces side by side, each on its way through seeds of its own and back."""
    seeds = range(WALKS * STOPS)
    z_WSZ = fixed_latents(seeds, generator.config.latent_dim).reshape(WALKS, STOPS, -1)
    index_NA = [draw_labels(seed, attributes, joint_prior) for seed in seeds]
    y_WSL = torch.from_numpy(label_vectors(index_NA, attributes)).reshape(WALKS, STOPS, -1)
    frames = []
    for step in range(STOPS * STEPS):
        here, t = divmod(step, STEPS)
        there = (here + 1) % STOPS
        share = t / STEPS
        z_WZ = slerp(z_WSZ[:, here], z_WSZ[:, there], share)
        y_WL = torch.lerp(y_WSL[:, here], y_WSL[:, there], share)
        frame = grid(_images(generator, z_WZ, y_WL), WALKS)
        if generator.config.resolution > WALK_SIDE:
            frame = frame.reduce(generator.config.resolution // WALK_SIDE)
        frames.append(frame)
    return Exhibit(
        "walk.webp",
        f"Interpolation through seeds 0 to {len(seeds) - 1}: each step is itself a face.",
        animated_webp(frames, WALK_FRAME_MS),
    )


def slerp(a_BZ: torch.Tensor, b_BZ: torch.Tensor, share: float) -> torch.Tensor:
    """Spherical interpolation row by row, which keeps latents at the length of normal draws."""
    cosine = torch.nn.functional.cosine_similarity(a_BZ, b_BZ, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.arccos()[:, None]
    return ((1 - share) * angle).sin() / angle.sin() * a_BZ + (
        share * angle
    ).sin() / angle.sin() * b_BZ


@torch.inference_mode()
def _images(generator: Generator, z_NZ: torch.Tensor, y_NL: torch.Tensor) -> NDArray[np.uint8]:
    """image_NHWC, a batch at a time; `y_NL` may have no columns."""
    batches = [
        to_pixels(generator(z, y if y.shape[1] else None))
        for z, y in zip(z_NZ.split(BATCH), y_NL.split(BATCH), strict=True)
    ]
    pixels: NDArray[np.uint8] = torch.cat(batches).numpy()
    return pixels
