"""A third discriminator, which sees the finest detail alone, two dozen pixels of it at a time.

It judges texture and nothing else: whether a grain, an edge or a fringe of colour could come from
a camera. Such detail is a few levels of 255, and of colour less than one: to a discriminator of
bounded slope it hardly exists, so it is taken out of the picture and amplified first, as forensics
of pictures does. It knows neither labels nor losses. Sources: patches: Li and Wand (arXiv
1604.04382), Isola et al. (arXiv 1611.07004), section 3.2.2; residuals by fixed high passes:
Fridrich and Kodovsky, "Rich Models for Steganalysis of Digital Images" (IEEE TIFS 7(3), 2012);
bounded slopes: Miyato et al. (arXiv 1802.05957).
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.layers import leaky_relu

WIDTHS = (32, 64, 64)
"""Maps after each halving. Three halvings by 4×4 convolutions see 4, 10, then 22 pixels."""
GAINS = (16.0, 64.0, 64.0)
"""Of detail in luma, Cb and Cr: photographs' has a deviation near 0.3 after it. Finer still, and
rounding to 8 bits would show, which generated pictures have not gone through."""


class PatchDiscriminator(nn.Module):
    """image_BCHW in [−1, 1] → score_BS of S = (H/8)·(W/8) places; large where it looks real.

    The side must be 8 px or more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("detail", _detail_kernel())
        self.halve = nn.ModuleList(
            spectral_norm(nn.Conv2d(below, above, 4, stride=2, padding=1))
            for below, above in itertools.pairwise((3, *WIDTHS))
        )
        self.score = spectral_norm(nn.Conv2d(WIDTHS[-1], 1, 1))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        # In float32: bfloat16 rounds by as much as is to be seen.
        with torch.autocast(image_BCHW.device.type, enabled=False):
            x = F.pad(image_BCHW.float(), (1, 1, 1, 1), mode="replicate")
            x = F.conv2d(x, self.get_buffer("detail"))
        for convolution in self.halve:
            x = leaky_relu(convolution(x))
        return self.score(x).flatten(1)


def _detail_kernel() -> Tensor:
    """RGB → what a binomial blur takes out of luma, Cb and Cr (Rec. 601), amplified."""
    luma_chroma = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    )
    binomial = torch.tensor([1.0, 2.0, 1.0])
    high_pass = -torch.outer(binomial, binomial) / 16
    high_pass[1, 1] += 1
    return torch.tensor(GAINS)[:, None, None, None] * luma_chroma[:, :, None, None] * high_pass
