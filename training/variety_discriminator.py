"""A discriminator that sees how much pictures differ from each other, and nothing else.

It is never shown a picture alone. Of each small group it gets the deviations of a frozen network's
features, map by map and place by place, and says whether so much variety could be of photographs.
Judges of single pictures cannot: a generator that draws the same likeable face again and again
pleases each of them. It knows neither labels nor losses. Sources: Salimans et al., "Improved
Techniques for Training GANs" (arXiv 1606.03498), section 3.2, minibatch discrimination; deviations
in place of distances: Karras et al. (arXiv 1710.10196), section 3, which keeps their mean alone;
random projections: Sauer et al. (arXiv 2111.01007); bounded slopes: Miyato et al. (arXiv
1802.05957).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.layers import leaky_relu, stddev_group
from training.feature_discriminator import TAPS, WIDTH, random_kernel

SIDE = 4
"""Places across the picture, at every tap."""
CENTRES = (-1.7, -1.5, -1.0, -0.4)
"""Mean logarithm of the deviation in four portraits of 128 px, at each tap."""
GAIN = 4.0
"""Of the logarithm, whose own deviation from group to group is 0.5: generated pictures that look
right one by one are off by 0.1, to one side or the other, which has to be heard."""
SMALLEST = 1e-4
"""Added to the variance: bounds the gradient where pictures hardly differ."""
HIDDEN = 64


class VarietyDiscriminator(nn.Module):
    """Maps of the backbone for a batch → score_MS of its M groups by S taps, large where pictures
    differ as photographs do.

    Groups are those of `minibatch_stddev`: four pictures, or the largest divisor of the batch
    below. The projections are random and stay; they are buffers, so a snapshot has them.
    """

    def __init__(self) -> None:
        super().__init__()
        for i, tap in enumerate(TAPS):
            self.register_buffer(f"mix{i}", random_kernel(WIDTH, tap.channels, 1))
        self.hidden = nn.ModuleList(_bounded(WIDTH * SIDE * SIDE, HIDDEN) for _ in TAPS)
        self.score = nn.ModuleList(_bounded(HIDDEN, 1) for _ in TAPS)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Never raises; a single picture gives a constant score."""
        scores = []
        # In float32: bfloat16 rounds by as much as pictures differ.
        with torch.autocast(features[0].device.type, enabled=False):
            for i, centre in enumerate(CENTRES):
                pooled_BCHW = F.adaptive_avg_pool2d(features[i].float(), SIDE)
                x_BF = F.conv2d(pooled_BCHW, self.get_buffer(f"mix{i}")).flatten(1)
                spread_MF = GAIN * (_log_deviation(x_BF) - centre)
                scores.append(self.score[i](leaky_relu(self.hidden[i](spread_MF))))
        return torch.cat(scores, dim=1)


def every_second_group(x_BX: Tensor) -> Tensor:
    """The first, third, … group of a batch, of any further dimensions, as a batch by themselves."""
    group = stddev_group(len(x_BX))
    return x_BX.unflatten(0, (group, len(x_BX) // group))[:, ::2].flatten(0, 1)


def in_every_second_group(batch: int, device: torch.device) -> Tensor:
    """Which rows of a batch those are, bool_B."""
    return torch.arange(batch, device=device) % (batch // stddev_group(batch)) % 2 == 0


def _log_deviation(x_BF: Tensor) -> Tensor:
    """Natural logarithm of each feature's deviation within each group: x_BF → x_MF."""
    batch, size = x_BF.shape
    group = stddev_group(batch)
    x_GMF = x_BF.reshape(group, batch // group, size)
    variance_MF = (x_GMF - x_GMF.mean(dim=0)).square().mean(dim=0)
    return (variance_MF + SMALLEST).log() / 2


def _bounded(inputs: int, outputs: int) -> nn.Module:
    return spectral_norm(nn.Linear(inputs, outputs))
