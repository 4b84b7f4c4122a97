"""Everything one training step is fed, ready on the device: pure functions of (seed, images seen).

Real pictures are blended as the networks are while they fade, labels as far as the ramp has come.
Knows nothing about networks or losses.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import from_pixels
from models.layers import downsample, upsample
from training.augment import draws
from training.config import TrainConfig
from training.dataset import Batch
from training.sampler import Rows, Sampler, Stream, generator_for
from training.schedule import Phase


@dataclass(frozen=True)
class Inputs:
    """What one step is fed; labels are None for a data set without attributes."""

    real_BCHW: Tensor
    real_label_BL: Tensor | None
    fake_label_BL: Tensor | None
    z_BZ: Tensor
    real_draw_BK: Tensor
    """Uniform numbers that decide how the real pictures are augmented."""
    fake_draw_BK: Tensor
    mix_B: Tensor
    """Uniform numbers: where between real and generated the gradient penalty is taken."""

    def tensors(self) -> dict[str, Tensor]:
        """All that are there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def inputs_at(
    images_seen: int,
    phase: Phase,
    sampler: Sampler,
    config: TrainConfig,
    *,
    take: Rows,
    device: torch.device,
) -> Inputs:
    """Inputs of the step after `images_seen` images: of its whole batch, the rows `take`."""
    size, seed = phase.batch_size, config.seed
    real = sampler.batch(phase.resolution, size, images_seen=images_seen, take=take)
    fake_label_BL = sampler.labels(size, images_seen=images_seen, take=take)
    z_BZ = generator_for(seed, Stream.LATENTS, images_seen).standard_normal(
        (size, config.network.latent_dim), dtype=np.float32
    )
    real_draw_BK, fake_draw_BK = (
        draws(generator_for(seed, stream, images_seen), size)
        for stream in (Stream.AUGMENT_REAL, Stream.AUGMENT_FAKE)
    )
    mix_B = generator_for(seed, Stream.MIX, images_seen).random(size, dtype=np.float32)
    real_BCHW, real_label_BL = prepared(real, phase, sampler, device)
    return Inputs(
        real_BCHW=real_BCHW,
        real_label_BL=real_label_BL,
        fake_label_BL=ramped(fake_label_BL, phase, sampler, device),
        z_BZ=torch.from_numpy(z_BZ[take]).to(device),
        real_draw_BK=torch.from_numpy(real_draw_BK[take]).to(device),
        fake_draw_BK=torch.from_numpy(fake_draw_BK[take]).to(device),
        mix_B=torch.from_numpy(mix_B[take]).to(device),
    )


def prepared(
    real: Batch, phase: Phase, sampler: Sampler, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Real pictures as the fading networks can show them, and their labels as far as ramped."""
    image_BCHW = from_pixels(torch.from_numpy(real.image_BHWC).to(device))
    if phase.fading:
        image_BCHW = torch.lerp(upsample(downsample(image_BCHW)), image_BCHW, phase.alpha)
    return image_BCHW, ramped(real.label_BL, phase, sampler, device)


def ramped(
    label_BL: NDArray[np.float32], phase: Phase, sampler: Sampler, device: torch.device
) -> Tensor | None:
    """Labels between their average and themselves; None for a data set without attributes."""
    if not label_BL.shape[1]:
        return None
    label = torch.from_numpy(label_BL).to(device)
    if phase.label_influence >= 1:
        return label
    mean = torch.from_numpy(sampler.mean_label_L).to(device).expand_as(label)
    return torch.lerp(mean, label, phase.label_influence)
