"""Scores → losses. Knows the discriminator only as something that scores pictures.

Sources: non-saturating loss: Goodfellow et al. (arXiv 1406.2661), section 3; R1: Mescheder et al.
(arXiv 1801.04406); taken every few steps: Karras et al., StyleGAN2 (arXiv 1912.04958), appendix B.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """−log D(real) − log(1 − D(fake)), D = sigmoid of the score; mean over the batch."""
    return F.softplus(-real_B.float()).mean() + F.softplus(fake_B.float()).mean()


def generator_loss(fake_B: Tensor) -> Tensor:
    """−log D(fake): strong gradient where the discriminator is sure; mean over the batch."""
    return F.softplus(-fake_B.float()).mean()


def r1_penalty(discriminate: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> Tensor:
    """Mean over the batch of the squared gradient of the score by the real picture.

    In float32 throughout: squared gradients of bfloat16 networks are mostly rounding.
    """
    image_BCHW = image_BCHW.detach().requires_grad_(True)
    score_B = discriminate(image_BCHW)
    (gradient_BCHW,) = torch.autograd.grad(score_B.sum(), image_BCHW, create_graph=True)
    return gradient_BCHW.square().sum(dim=(1, 2, 3)).mean()
