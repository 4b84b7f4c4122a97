"""Quick figures of the averaged generator while it is trained, and which moment was the best.

Always the same real pictures and the same latents, so that figures of one run can be compared.
Knows nothing about files.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models import to_pixels
from training.config import TrainConfig
from training.dataset import Batch
from training.inputs import ramped
from training.metrics.diversity import FEWEST, mean_distance, thumbnails
from training.metrics.quick import quick_metrics
from training.run_folder import Best
from training.sampler import Sampler, Stream, generator_for
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup

SMALLEST = 8
"""Side in pixels below which there is nothing to measure."""
ENOUGH = 32
"""Pictures that tell a label's diversity: where fewer of them are measured, others are."""
MEASURE = "swd"


@torch.no_grad()
def sample(
    state: TrainingState,
    z_NZ: torch.Tensor,
    label_NL: NDArray[np.float32],
    phase: Phase,
    sampler: Sampler,
    setup: Setup,
) -> NDArray[np.uint8]:
    """The averaged generator's pictures image_NHWC, as far as it has grown."""
    label = ramped(label_NL, phase, sampler, setup.device)
    parts = []
    for start in range(0, len(z_NZ), 64):
        rows = slice(start, start + 64)
        image_BCHW = state.average(
            z_NZ[rows].to(setup.device),
            None if label is None else label[rows],
            resolution=phase.resolution,
            alpha=phase.alpha,
        )
        parts.append(to_pixels(image_BCHW).cpu().numpy())
    return np.concatenate(parts)


def quick_figures(
    state: TrainingState, sampler: Sampler, phase: Phase, setup: Setup
) -> dict[str, float]:
    """Sliced Wasserstein distance and diversity against real pictures, overall and by label.

    Rare labels too: of those with few pictures among the measured ones, more are looked at.
    """
    if phase.resolution < SMALLEST:
        return {}
    config = setup.config
    real = sampler.reference(phase.resolution, config.metrics_samples)
    z_NZ = generator_for(config.seed, Stream.MEASURE, 1).standard_normal(
        (len(real.image_BHWC), config.network.latent_dim), dtype=np.float32
    )
    fake_NHWC = sample(state, torch.from_numpy(z_NZ), real.label_BL, phase, sampler, setup)
    figures = quick_metrics(real.image_BHWC, fake_NHWC)
    index_NA = sampler.dataset.indices(real.label_BL)
    for column, attribute in enumerate(sampler.dataset.attributes()):
        for value, word in enumerate(attribute.values):
            shown_N = np.flatnonzero(index_NA[:, column] == value)
            of_real, of_fake = real.image_BHWC[shown_N], fake_NHWC[shown_N]
            if len(shown_N) < ENOUGH:
                rare = _of_value(sampler, column, value, phase.resolution, config)
                if len(rare.image_BHWC) < FEWEST:
                    continue
                z = torch.from_numpy(z_NZ[: len(rare.image_BHWC)])
                of_real = rare.image_BHWC
                of_fake = sample(state, z, rare.label_BL, phase, sampler, setup)
            spread = [mean_distance(thumbnails(images)) for images in (of_real, of_fake)]
            figures[f"diversity/{attribute.name}={word}"] = spread[1] / max(spread[0], 1e-9)
    return figures


def _of_value(
    sampler: Sampler, column: int, value: int, resolution: int, config: TrainConfig
) -> Batch:
    """Up to ENOUGH real pictures that have this value of the attribute `column`."""
    dataset, rows = sampler.dataset, sampler.rows
    rows = rows[dataset.index_NA[rows, column] == value]
    rows = generator_for(config.seed, Stream.MEASURE, 0).permutation(rows)
    rows = rows[: min(ENOUGH, config.metrics_samples)]
    return Batch(dataset.images(resolution)[rows], dataset.one_hot(dataset.index_NA[rows]))


def better(
    best: Best | None, figures: dict[str, float], images_seen: int, phase: Phase, setup: Setup
) -> Best | None:
    """The best moment so far, this one included; only full-grown networks are compared."""
    full = setup.config.network.resolution
    grown = phase.resolution == full and not phase.fading and phase.label_influence >= 1
    if not grown or MEASURE not in figures:
        return best
    if best is not None and best.value <= figures[MEASURE]:
        return best
    return Best(images_seen, MEASURE, figures[MEASURE])
