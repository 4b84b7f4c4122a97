"""Quick figures of the averaged generator while it is trained, and which moment was the best.

Always the same real pictures and the same latents, so that figures of one run can be compared.
Knows nothing about files.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models import to_pixels
from training.inputs import ramped
from training.metrics.diversity import distance_by_label, thumbnails, value_names
from training.metrics.quick import quick_metrics
from training.run_folder import Best
from training.sampler import Sampler, Stream, generator_for
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup

SMALLEST = 8
"""Side in pixels below which there is nothing to measure."""
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
    """Sliced Wasserstein distance and diversity against real pictures, overall and by label."""
    if phase.resolution < SMALLEST:
        return {}
    config = setup.config
    real = sampler.reference(phase.resolution, config.metrics_samples)
    z_NZ = generator_for(config.seed, Stream.MEASURE, 1).standard_normal(
        (len(real.image_BHWC), config.network.latent_dim), dtype=np.float32
    )
    fake_NHWC = sample(state, torch.from_numpy(z_NZ), real.label_BL, phase, sampler, setup)
    figures = quick_metrics(real.image_BHWC, fake_NHWC)
    real_ND, fake_ND = thumbnails(real.image_BHWC), thumbnails(fake_NHWC)
    values = {a.name: a.values for a in sampler.dataset.attributes()}
    for words_N in value_names(sampler.dataset.indices(real.label_BL), values):
        of_real, of_fake = (distance_by_label(points, words_N) for points in (real_ND, fake_ND))
        for label, distance in of_real.items():
            figures[f"diversity/{label}"] = of_fake[label] / max(distance, 1e-9)
    return figures


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
