"""Scores → losses and penalties. Knows the discriminator only as something that scores pictures.

Scores are unbounded; D in the formulas is their sigmoid where a loss needs a probability.
Sources: minimax and non-saturating: Goodfellow et al. (arXiv 1406.2661), section 3; least squares:
Mao et al. (arXiv 1611.04076); Wasserstein with gradient penalty: Gulrajani et al. (arXiv
1704.00028), its drift term: Karras et al. (arXiv 1710.10196), appendix A.1; hinge: Lim and Ye
(arXiv 1705.02894); R1: Mescheder et al. (arXiv 1801.04406), taken every few steps: Karras et al.,
StyleGAN2 (arXiv 1912.04958), appendix B; auxiliary classifier: Odena et al. (arXiv 1610.09585).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AdversarialLoss:
    """What each network minimises, given scores; both are means over the batch."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real_B, fake_B) → loss."""
    generator: Callable[[Tensor], Tensor]
    """fake_B → loss."""
    undecided: float | None
    """The score that says neither real nor generated; None where the scale has no such point."""


def logistic_discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """−log D(real) − log(1 − D(fake))."""
    return F.softplus(-real_B.float()).mean() + F.softplus(fake_B.float()).mean()


def non_saturating_generator_loss(fake_B: Tensor) -> Tensor:
    """−log D(fake): strong gradient where the discriminator is sure."""
    return F.softplus(-fake_B.float()).mean()


def minimax_generator_loss(fake_B: Tensor) -> Tensor:
    """log(1 − D(fake)): the game as first stated; its gradient dies where D is sure."""
    return -F.softplus(fake_B.float()).mean()


def least_squares_discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """½ (score(real) − 1)² + ½ score(fake)²."""
    return 0.5 * ((real_B.float() - 1).square().mean() + fake_B.float().square().mean())


def least_squares_generator_loss(fake_B: Tensor) -> Tensor:
    """½ (score(fake) − 1)²."""
    return 0.5 * (fake_B.float() - 1).square().mean()


def hinge_discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """max(0, 1 − score(real)) + max(0, 1 + score(fake))."""
    return F.relu(1 - real_B.float()).mean() + F.relu(1 + fake_B.float()).mean()


def wasserstein_discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """score(fake) − score(real); meant to go with `gradient_penalty` and `drift_penalty`."""
    return fake_B.float().mean() - real_B.float().mean()


def raw_generator_loss(fake_B: Tensor) -> Tensor:
    """−score(fake), of the Wasserstein and of the hinge loss."""
    return -fake_B.float().mean()


ADVERSARIAL_LOSSES = {
    "non_saturating": AdversarialLoss(
        logistic_discriminator_loss, non_saturating_generator_loss, undecided=0.0
    ),
    "minimax": AdversarialLoss(logistic_discriminator_loss, minimax_generator_loss, undecided=0.0),
    "least_squares": AdversarialLoss(
        least_squares_discriminator_loss, least_squares_generator_loss, undecided=0.5
    ),
    "hinge": AdversarialLoss(hinge_discriminator_loss, raw_generator_loss, undecided=0.0),
    "wgan_gp": AdversarialLoss(wasserstein_discriminator_loss, raw_generator_loss, undecided=None),
}


def r1_penalty(discriminate: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> Tensor:
    """Mean over the batch of the squared gradient of the score by the real picture.

    Never in bfloat16: squared gradients of such networks are mostly rounding. (On a GPU cuDNN's
    products are TF32 unless the whole run is fp32.)
    """
    gradient_BCHW = _gradient(discriminate, image_BCHW)
    return gradient_BCHW.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(
    discriminate: Callable[[Tensor], Tensor],
    real_BCHW: Tensor,
    fake_BCHW: Tensor,
    mix_B: Tensor,
) -> Tensor:
    """Mean of (‖gradient of the score‖ − 1)² at pictures between a real and a generated one.

    `mix_B` in [0, 1]: the generated one's share. Never in bfloat16, as R1.
    """
    fake_BCHW = fake_BCHW.detach().to(real_BCHW.dtype)
    between_BCHW = torch.lerp(real_BCHW, fake_BCHW, mix_B.reshape(-1, 1, 1, 1))
    square_B = _gradient(discriminate, between_BCHW).square().sum(dim=(1, 2, 3))
    # The root has no slope at 0, where a dead discriminator is: the small number keeps it finite.
    return ((square_B + 1e-12).sqrt() - 1).square().mean()


def drift_penalty(real_B: Tensor) -> Tensor:
    """Mean of score(real)²: keeps Wasserstein scores from wandering off together."""
    return real_B.float().square().mean()


def classification_loss(logit_BL: Tensor, label_BL: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cross-entropy of each attribute's values, summed over attributes, mean over the batch.

    `sizes`: number of values of each attribute, in the order of the label vector.
    """
    logits = logit_BL.float().split(list(sizes), dim=1)
    labels = label_BL.split(list(sizes), dim=1)
    losses = [F.cross_entropy(a, b) for a, b in zip(logits, labels, strict=True)]
    return torch.stack(losses).sum()


def _gradient(discriminate: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> Tensor:
    """Gradient of each picture's score by that picture, itself differentiable."""
    image_BCHW = image_BCHW.detach().requires_grad_(True)
    score_B = discriminate(image_BCHW)
    (gradient_BCHW,) = torch.autograd.grad(score_B.sum(), image_BCHW, create_graph=True)
    return gradient_BCHW
