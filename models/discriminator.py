"""The progressive discriminator: (picture, label) → score. The generator, mirrored.

Knows nothing about losses. Sources: arXiv 1710.10196, table 2; the label enters by projection
(Miyato and Koyama, "cGANs with Projection Discriminator", arXiv 1802.05637).
"""

import itertools
import math

import torch
from torch import Tensor, nn

from models.generator import GeneratorConfig
from models.layers import (
    DownsampleConv2d,
    EqualizedConv2d,
    EqualizedLinear,
    downsample,
    leaky_relu,
    minibatch_stddev,
)


class AnalysisBlock(nn.Module):
    """Two 3×3 convolutions, then ÷2: x_BCHW → x_BD(H/2)(W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(channels_in, channels_in, 3)
        self.conv1 = DownsampleConv2d(channels_in, channels_out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return leaky_relu(self.conv1(leaky_relu(self.conv0(x_BCHW))))


class Discriminator(nn.Module):
    """D(x, y): one unbounded score per picture, large for real ones."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.channels(r) for r in config.resolutions]
        base = channels[0]
        self.from_rgb = nn.ModuleList(EqualizedConv2d(3, c, 1) for c in channels)
        # blocks[i] takes resolution i+1 down to resolution i.
        self.blocks = nn.ModuleList(
            AnalysisBlock(above, below) for below, above in itertools.pairwise(channels)
        )
        self.conv = EqualizedConv2d(base + 1, base, 3)
        self.dense = EqualizedLinear(base * 16, base)
        self.score = EqualizedLinear(base, 1, gain=1.0)
        self.project = EqualizedLinear(config.label_dim, base, 1.0) if config.label_dim else None

    def forward(
        self,
        image_BCHW: Tensor,
        y_BL: Tensor | None = None,
        *,
        alpha: float = 1.0,
    ) -> Tensor:
        """Scores score_B for pictures at any resolution of the network.

        `alpha` in [0, 1]: share of the top resolution while it fades in, as in the generator.
        Minibatch statistics are taken over the whole batch given: score real and generated
        pictures apart.
        """
        if (y_BL is None) != (self.project is None):
            raise ValueError(
                f"this discriminator has label_dim {self.config.label_dim}: "
                + ("pass y_BL" if y_BL is None else "do not pass y_BL")
            )
        stage = self.config.stage(image_BCHW.shape[-1])
        x = leaky_relu(self.from_rgb[stage](image_BCHW))
        for i in reversed(range(stage)):
            x = self.blocks[i](x)
            if i == stage - 1 and alpha < 1.0:
                below = leaky_relu(self.from_rgb[i](downsample(image_BCHW)))
                x = torch.lerp(below, x, alpha)
        x = leaky_relu(self.conv(minibatch_stddev(x)))
        features_BC = leaky_relu(self.dense(x.flatten(1)))
        score_B = self.score(features_BC).squeeze(1)
        if self.project is not None and y_BL is not None:
            inner_B = (features_BC * self.project(y_BL)).sum(dim=1)
            score_B = score_B + inner_B / math.sqrt(features_BC.shape[1])
        return score_B
