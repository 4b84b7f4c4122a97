import math

import pytest
import torch

from training.losses import discriminator_loss, generator_loss, r1_penalty


def test_losses_are_those_of_the_paper() -> None:
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    expected_d = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), expected_d)
    torch.testing.assert_close(generator_loss(fake), -fake.sigmoid().log().mean())


def test_losses_stay_finite_for_a_discriminator_that_is_certain() -> None:
    certain = torch.tensor([1e4], requires_grad=True)
    loss = generator_loss(-certain)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert certain.grad is not None
    assert certain.grad.item() == pytest.approx(1.0)


def test_an_undecided_discriminator_costs_two_ln_two() -> None:
    zero = torch.zeros(3)
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))


def test_r1_equals_finite_differences() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3 * 4 * 4, dtype=torch.float64)

    def discriminate(image: torch.Tensor) -> torch.Tensor:
        return torch.tanh(image.flatten(1) @ weight)

    image = 0.1 * torch.randn(2, 3, 4, 4, dtype=torch.float64)
    step, squares = 1e-5, torch.zeros(2, dtype=torch.float64)
    for index in range(48):
        shift = torch.zeros(48, dtype=torch.float64)
        shift[index] = step
        shift = shift.reshape(1, 3, 4, 4)
        slope = (discriminate(image + shift) - discriminate(image - shift)) / (2 * step)
        squares += slope**2
    torch.testing.assert_close(r1_penalty(discriminate, image), squares.mean(), rtol=1e-6, atol=0)


def test_r1_has_a_gradient_for_the_discriminator() -> None:
    layer = torch.nn.Linear(12, 1)
    penalty = r1_penalty(lambda x: layer(x.flatten(1)).squeeze(1), torch.randn(2, 3, 2, 2))
    penalty.backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach())
