"""A stand-in for the frozen network that discriminators of features see pictures through."""

import torch.nn.functional as F
from torch import Tensor

from training.feature_discriminator import TAPS


def halvings(image_BCHW: Tensor) -> list[Tensor]:
    """A backbone that costs nothing: the picture itself, at the size of each tap."""
    return [
        F.adaptive_avg_pool2d(image_BCHW, 4 << tap.halvings)
        .repeat(1, -(-tap.channels // 3), 1, 1)[:, : tap.channels]
        .contiguous()
        for tap in TAPS
    ]
