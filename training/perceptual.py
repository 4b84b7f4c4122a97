"""How far pictures are from one target picture, as an eye would say: no network, no download.

Pixels alone reward blur. Two terms do better: the mean absolute difference of Laplacian pyramids,
which weighs edges of every size alike (Bojanowski et al., arXiv 1707.05776), and structural
similarity at several scales (Wang et al., 2004), which asks for the same local contrast and
pattern. Knows nothing about where the pictures come from.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 8  # pixels: below, a level says nothing that the one above has not said
SSIM_SCALES = 3
SSIM_SHARE = 0.5  # of the structural term, beside the pyramid's
C1, C2 = 0.01**2, 0.03**2  # the constants of the SSIM paper, for values in [0, 1]


class PerceptualDistance:
    """Distance to a fixed target; 0 where a picture equals it.

    `target_CHW`: a square picture in [−1, 1].
    """

    def __init__(self, target_CHW: Tensor) -> None:
        target_BCHW = _to_unit(target_CHW[None])
        self._pyramid = _laplacian_pyramid(target_BCHW)
        self._scales = [(scale, *_moments(scale)) for scale in _scales(target_BCHW)]

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """Distances [B] of pictures in about [−1, 1], differentiable."""
        image = _to_unit(image_BCHW)
        levels = zip(_laplacian_pyramid(image), self._pyramid, strict=True)
        pyramid_B = torch.stack([(a - b).abs().mean(dim=(1, 2, 3)) for a, b in levels]).sum(dim=0)
        scales = zip(_scales(image), self._scales, strict=True)
        ssim_B = torch.stack([_ssim(scale, *target) for scale, target in scales]).mean(dim=0)
        return pyramid_B + SSIM_SHARE * (1 - ssim_B)


def _to_unit(image_BCHW: Tensor) -> Tensor:
    """As it will be shown, in [0, 1]; clipped values keep their gradient, or they never return."""
    clipped = image_BCHW + (image_BCHW.clamp(-1, 1) - image_BCHW).detach()
    return (clipped + 1) / 2


def _laplacian_pyramid(image_BCHW: Tensor) -> list[Tensor]:
    """Band-pass levels from the finest on, and the low-pass rest."""
    levels = []
    while image_BCHW.shape[-1] > SMALLEST:
        smaller = F.avg_pool2d(_blur(image_BCHW, _binomial(image_BCHW)), 2)
        larger = F.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False)
        levels.append(image_BCHW - larger)
        image_BCHW = smaller
    return [*levels, image_BCHW]


def _scales(image_BCHW: Tensor) -> list[Tensor]:
    scales = [image_BCHW]
    while len(scales) < SSIM_SCALES and scales[-1].shape[-1] > SMALLEST:
        scales.append(F.avg_pool2d(scales[-1], 2))
    return scales


def _moments(image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Local mean and variance under a Gaussian window."""
    window = _gaussian(image_BCHW)
    mean = _blur(image_BCHW, window)
    return mean, _blur(image_BCHW.square(), window) - mean.square()


def _ssim(image_BCHW: Tensor, target: Tensor, mean_t: Tensor, variance_t: Tensor) -> Tensor:
    mean, variance = _moments(image_BCHW)
    covariance = _blur(image_BCHW * target, _gaussian(target)) - mean * mean_t
    ssim = (2 * mean * mean_t + C1) * (2 * covariance + C2)
    ssim = ssim / ((mean.square() + mean_t.square() + C1) * (variance + variance_t + C2))
    return ssim.mean(dim=(1, 2, 3))


def _blur(image_BCHW: Tensor, window: Tensor) -> Tensor:
    """Each channel filtered along both axes; the edge is mirrored."""
    channels, margin = image_BCHW.shape[1], len(window) // 2
    padded = F.pad(image_BCHW, (margin, margin, margin, margin), mode="reflect")
    row = window.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    blurred = F.conv2d(padded, row, groups=channels)
    return F.conv2d(blurred, row.transpose(2, 3), groups=channels)


def _binomial(like: Tensor) -> Tensor:
    return like.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def _gaussian(like: Tensor) -> Tensor:
    window = torch.exp(-torch.arange(-3, 4, device=like.device, dtype=like.dtype).square() / 4.5)
    return window / window.sum()
