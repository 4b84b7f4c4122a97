"""A second discriminator, which sees pictures through a frozen network trained on photographs.

What such a network has learnt of edges, texture and things need not be learnt again from a small
data set. This module is what is trained on top of it: small heads, one for each depth at which
features are taken. It knows neither that network nor losses. Sources: Sauer et al., "Projected
GANs Converge Faster" (arXiv 2111.01007): random projections across channels and depths, so that
heads cannot look at a few features alone; Kumari et al., "Ensembling Off-the-shelf Models for GAN
Training" (arXiv 2112.09130): beside the discriminator that sees pixels, not in its place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.layers import leaky_relu

Backbone = Callable[[Tensor], list[Tensor]]
"""image_BCHW in [−1, 1] → one map_BCHW for each of `TAPS`, differentiable by the picture."""


@dataclass(frozen=True)
class Tap:
    """Where features are taken: their number of maps, and how often their side is halved to 4."""

    channels: int
    halvings: int


TAPS = (Tap(24, 3), Tap(40, 2), Tap(112, 1), Tap(320, 0))
"""Of EfficientNet-lite0: the ends of its stages of stride 4, 8, 16 and 32, for 128 px."""
WIDTH = 64  # maps after projection


class FeatureDiscriminator(nn.Module):
    """Scores of places in a picture, at each tap; labels join by projection, as in the other one.

    The projections are random and stay; they are buffers, so a snapshot has them.
    """

    def __init__(self, label_dim: int) -> None:
        super().__init__()
        for i, tap in enumerate(TAPS):
            self.register_buffer(f"mix{i}", random_kernel(WIDTH, tap.channels, 1))
            self.register_buffer(f"merge{i}", random_kernel(WIDTH, WIDTH, 3))
        self.heads = nn.ModuleList(_Head(tap.halvings, label_dim) for tap in TAPS)

    def forward(self, features: Sequence[Tensor], y_BL: Tensor | None = None) -> Tensor:
        """score_BS: S places of all taps in a row; large where a picture looks real."""
        scores, above = [], None
        for i in reversed(range(len(TAPS))):
            x = F.conv2d(features[i], self.get_buffer(f"mix{i}").to(features[i].dtype))
            if above is not None:
                side = x.shape[-2:]
                x = (x + F.interpolate(above, side, mode="nearest")) / math.sqrt(2)
            x = F.conv2d(x, self.get_buffer(f"merge{i}").to(x.dtype), padding=1)
            above = x
            scores.append(self.heads[i](x, y_BL))
        return torch.cat(scores, dim=1)


class _Head(nn.Module):
    """Halves the side with convolutions of bounded slope, then scores each place."""

    def __init__(self, halvings: int, label_dim: int) -> None:
        super().__init__()
        self.halve = nn.ModuleList(
            spectral_norm(nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1)) for _ in range(halvings)
        )
        self.conv = spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.score = spectral_norm(nn.Conv2d(WIDTH, 1, 1))
        self.project = spectral_norm(nn.Linear(label_dim, WIDTH)) if label_dim else None

    def forward(self, x_BCHW: Tensor, y_BL: Tensor | None) -> Tensor:
        for convolution in (*self.halve, self.conv):
            x_BCHW = leaky_relu(convolution(x_BCHW))
        score_BHW = self.score(x_BCHW).squeeze(1)
        if self.project is not None:
            label_BC11 = self.project(y_BL)[:, :, None, None]
            score_BHW = score_BHW + (x_BCHW * label_BC11).sum(dim=1) / math.sqrt(WIDTH)
        return score_BHW.flatten(1)


def random_kernel(channels_out: int, channels_in: int, side: int) -> Tensor:
    """A convolution's weights that keep the variance of what they are given."""
    shape = (channels_out, channels_in, side, side)
    return torch.randn(shape) / math.sqrt(channels_in * side * side)
