import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models import Discriminator, GeneratorConfig
from training.losses import (
    ADVERSARIAL_LOSSES,
    classification_loss,
    drift_penalty,
    gradient_penalty,
    r1_penalty,
)

REAL, FAKE = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
D_REAL, D_FAKE = REAL.sigmoid(), FAKE.sigmoid()


@pytest.mark.parametrize(
    ("kind", "expected_d", "expected_g"),
    [
        ("non_saturating", -D_REAL.log() - (1 - D_FAKE).log(), -D_FAKE.log()),
        ("minimax", -D_REAL.log() - (1 - D_FAKE).log(), (1 - D_FAKE).log()),
        ("least_squares", ((REAL - 1) ** 2 + FAKE**2) / 2, (FAKE - 1) ** 2 / 2),
        ("hinge", (1 - REAL).clamp(min=0) + (1 + FAKE).clamp(min=0), -FAKE),
        ("wgan_gp", FAKE - REAL, -FAKE),
    ],
)
def test_losses_are_those_of_the_papers(kind: str, expected_d: Tensor, expected_g: Tensor) -> None:
    loss = ADVERSARIAL_LOSSES[kind]
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), expected_d.mean())
    torch.testing.assert_close(loss.generator(FAKE), expected_g.mean())


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES)
def test_losses_stay_finite_for_a_discriminator_that_is_certain(kind: str) -> None:
    certain = torch.tensor([-1e4], requires_grad=True)
    ADVERSARIAL_LOSSES[kind].generator(certain).backward()
    assert certain.grad is not None
    # Where the generator has lost, minimax tells it nothing; all others do.
    assert certain.grad.item() == (0.0 if kind == "minimax" else pytest.approx(-1.0, abs=1e5))
    assert (certain.grad.item() < 0) == (kind != "minimax")


@pytest.mark.parametrize("kind", [k for k in ADVERSARIAL_LOSSES if k != "wgan_gp"])
def test_an_undecided_score_pulls_equally_from_both_sides(kind: str) -> None:
    loss = ADVERSARIAL_LOSSES[kind]
    real = torch.full((3,), loss.undecided, requires_grad=True)
    fake = torch.full((3,), loss.undecided, requires_grad=True)
    loss.discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    torch.testing.assert_close(real.grad, -fake.grad)


def test_classification_sums_over_attributes() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0, 1.0, 1.0]])
    label = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0]])
    expected = math.log(1 + math.exp(-2)) + math.log(3)
    assert classification_loss(logits, label, [2, 3]).item() == pytest.approx(expected)


def test_drift_is_the_mean_square() -> None:
    assert drift_penalty(REAL).item() == pytest.approx(2.5)


# A network of the real layers, smooth enough for finite differences: its leaky ReLUs have kinks,
# but none lies within the tiny steps taken here.
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    config = GeneratorConfig(8, latent_dim=4, label_dim=2, fmap_base=32, fmap_max=4)
    return Discriminator(config).double()


IMAGE = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
OTHER = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
LABEL = torch.eye(2, dtype=torch.float64)
MIX = torch.tensor([0.3, 0.8], dtype=torch.float64)


def image_slopes(network: Discriminator, image: Tensor) -> Tensor:
    """Gradient of each score by its own picture's pixels [B, pixels], by central differences."""
    step, rows = 1e-6, []
    for index in range(image[0].numel()):
        shift = torch.zeros_like(image).flatten(1)
        shift[:, index] = step
        shift = shift.reshape(image.shape)
        # Pictures of a batch meet in the minibatch deviation: the sum is what is differentiated.
        columns = []
        for b in range(len(image)):
            only = torch.zeros_like(image)
            only[b] = shift[b]
            difference = network(image + only, LABEL) - network(image - only, LABEL)
            columns.append(difference.sum() / (2 * step))
        rows.append(torch.stack(columns))
    return torch.stack(rows, dim=1)


@torch.no_grad()
def r1_by_differences(network: Discriminator) -> Tensor:
    return image_slopes(network, IMAGE).square().sum(dim=1).mean()


@torch.no_grad()
def gradient_penalty_by_differences(network: Discriminator) -> Tensor:
    between = IMAGE + MIX.reshape(-1, 1, 1, 1) * (OTHER - IMAGE)
    return (image_slopes(network, between).norm(dim=1) - 1).square().mean()


def r1(network: Discriminator) -> Tensor:
    return r1_penalty(lambda image: network(image, LABEL), IMAGE)


def wasserstein_penalty(network: Discriminator) -> Tensor:
    return gradient_penalty(lambda image: network(image, LABEL), IMAGE, OTHER, MIX)


@pytest.mark.parametrize(
    ("penalty", "by_differences"),
    [(r1, r1_by_differences), (wasserstein_penalty, gradient_penalty_by_differences)],
)
def test_penalties_equal_finite_differences(
    penalty: Callable[[Discriminator], Tensor], by_differences: Callable[[Discriminator], Tensor]
) -> None:
    network = discriminator()
    torch.testing.assert_close(penalty(network), by_differences(network), rtol=1e-5, atol=0)


@pytest.mark.parametrize("penalty", [r1, wasserstein_penalty])
def test_penalties_push_every_weight_as_finite_differences_say(
    penalty: Callable[[Discriminator], Tensor],
) -> None:
    network = discriminator()
    penalty(network).backward()
    random, step = torch.Generator().manual_seed(3), 1e-6
    for name, parameter in network.named_parameters():
        if parameter.grad is None or name in ("from_rgb.0.weight", "from_rgb.0.bias"):
            continue  # the path of a resolution that is not shown
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=random)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * step)
            values.append(penalty(network).detach())
            with torch.no_grad():
                parameter.sub_(direction, alpha=sign * step)
        slope = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(
            (parameter.grad * direction).sum(), slope, rtol=1e-4, atol=1e-6, msg=name
        )


def test_a_dead_discriminator_has_a_finite_penalty_and_gradient() -> None:
    weight = torch.zeros(192, requires_grad=True)
    penalty = gradient_penalty(
        lambda image: image.flatten(1) @ weight,
        torch.ones(2, 3, 8, 8),
        torch.zeros(2, 3, 8, 8),
        torch.tensor([0.1, 0.9]),
    )
    penalty.backward()
    assert penalty.item() == pytest.approx(1.0, abs=1e-5)
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
