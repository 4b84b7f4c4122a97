"""The progressive discriminator: (picture, label) → score. The generator, mirrored.

Knows nothing about losses. Source: Karras et al. (arXiv 1710.10196), table 2. How labels enter:

- `projection`: the inner product of the last features with the embedded label joins the score
  (Miyato and Koyama, arXiv 1802.05637);
- `auxiliary`: the score knows no label, a second head guesses it (Odena et al., arXiv 1610.09585;
  the official progressive GAN's way);
- `concatenation`: the label joins the 4×4 features as constant maps, beside the minibatch
  deviation (after Mirza and Osindero, arXiv 1411.1784, who join it to a hidden layer). Two layers
  follow, so that what a picture shows and what its label says can meet.
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
    folded,
    leaky_relu,
    minibatch_stddev,
)

CONDITIONINGS = ("projection", "auxiliary", "concatenation")


class AnalysisBlock(nn.Module):
    """Two 3×3 convolutions, then ÷2: x_BCHW → x_BD(H/2)(W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(channels_in, channels_in, 3)
        self.conv1 = DownsampleConv2d(channels_in, channels_out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return leaky_relu(self.conv1(leaky_relu(self.conv0(x_BCHW))))


class Discriminator(nn.Module):
    """D(x, y): one unbounded score per picture, large for real ones.

    `conditioning`: one of `CONDITIONINGS`; without labels all are the same network. Raises
    ValueError for another.
    """

    def __init__(self, config: GeneratorConfig, conditioning: str = "projection") -> None:
        super().__init__()
        if conditioning not in CONDITIONINGS:
            raise ValueError(
                f"conditioning is {conditioning!r}: choose one of {', '.join(CONDITIONINGS)}"
            )
        self.config = config
        self.conditioning = conditioning
        labels = config.label_dim
        self.label_maps = labels if conditioning == "concatenation" else 0
        channels = [config.channels(r) for r in config.resolutions]
        base = channels[0]
        self.from_rgb = nn.ModuleList(EqualizedConv2d(3, c, 1) for c in channels)
        # blocks[i] takes resolution i+1 down to resolution i.
        self.blocks = nn.ModuleList(
            AnalysisBlock(above, below) for below, above in itertools.pairwise(channels)
        )
        self.conv = EqualizedConv2d(base + 1 + self.label_maps, base, 3)
        self.dense = EqualizedLinear(base * 16, base)
        self.score = EqualizedLinear(base, 1, gain=1.0)
        projects = labels and conditioning == "projection"
        classifies = labels and conditioning == "auxiliary"
        self.project = EqualizedLinear(labels, base, 1.0) if projects else None
        self.classify = EqualizedLinear(base, labels, 1.0) if classifies else None

    def forward(
        self,
        image_BCHW: Tensor,
        y_BL: Tensor | None = None,
        *,
        alpha: float = 1.0,
    ) -> Tensor:
        """Scores score_B for pictures at any resolution of the network.

        `y_BL`: float one-hots of all attributes in a row; required where label_dim > 0.
        `alpha` in [0, 1]: share of the top resolution while it fades in, as in the generator.
        Minibatch statistics are taken over the whole batch given: score real and generated
        pictures apart.
        """
        return self.judge(image_BCHW, y_BL, alpha=alpha)[0]

    def fold(self) -> "Discriminator":
        """A copy for inference, with nothing left to be made of its weights at each call."""
        return folded(self)

    def judge(
        self,
        image_BCHW: Tensor,
        y_BL: Tensor | None = None,
        *,
        alpha: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Scores as `forward`, and the auxiliary head's logit_BL (None without that head)."""
        if (y_BL is None) != (self.config.label_dim == 0):
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
                x = torch.lerp(below.to(x.dtype), x, alpha)
        x = minibatch_stddev(x)
        if self.label_maps and y_BL is not None:
            maps_BLHW = y_BL.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, maps_BLHW], dim=1)
        x = leaky_relu(self.conv(x))
        features_BC = leaky_relu(self.dense(x.flatten(1)))
        score_B = self.score(features_BC).squeeze(1)
        if self.project is not None:
            inner_B = (features_BC * self.project(y_BL)).sum(dim=1)
            score_B = score_B + inner_B / math.sqrt(features_BC.shape[1])
        return score_B, None if self.classify is None else self.classify(features_BC)
