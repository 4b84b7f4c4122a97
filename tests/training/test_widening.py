"""A wider network begins as the narrower one: the same pictures, the same scores."""

import pytest
import torch
from torch import Tensor, nn

from models import Discriminator, Generator, GeneratorConfig
from training.widening import widened

NARROW = GeneratorConfig(32, 8, label_dim=5, label_embed_dim=4, fmap_base=128, fmap_max=32)
"""32, 32, 16, 8 maps at 4, 8, 16 and 32 px."""
Z_BZ = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
Y_BL = torch.eye(5)[torch.arange(8) % 5]


def wide(copies: int, resolution: int = 32) -> GeneratorConfig:
    return GeneratorConfig(resolution, 8, 5, 4, fmap_base=128 * copies, fmap_max=32)


def lend(narrow: nn.Module, other: nn.Module) -> None:
    weights = widened(narrow.state_dict(), other.state_dict())
    assert all(other.state_dict()[name].shape == tensor.shape for name, tensor in weights.items())
    other.load_state_dict(weights, strict=False)


def with_biases(network: nn.Module) -> nn.Module:
    """As trained ones have them: fresh ones are all 0."""
    random = torch.Generator().manual_seed(2)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=random)
    return network


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("copies", [2, 4])
@pytest.mark.parametrize("resolution", [4, 8, 16, 32])
def test_pictures_and_scores_are_the_same(copies: int, resolution: int) -> None:
    generator, wider = with_biases(Generator(NARROW)), Generator(wide(copies))
    lend(generator, wider)
    image_BCHW = generator(Z_BZ, Y_BL, resolution=resolution)
    torch.testing.assert_close(
        wider(Z_BZ, Y_BL, resolution=resolution), image_BCHW, atol=1e-4, rtol=1e-4
    )
    discriminator, other = with_biases(Discriminator(NARROW)), Discriminator(wide(copies))
    lend(discriminator, other)
    score_B = discriminator(image_BCHW, Y_BL, alpha=0.5)
    torch.testing.assert_close(other(image_BCHW, Y_BL, alpha=0.5), score_B, atol=1e-4, rtol=1e-3)


def test_the_copies_of_a_map_part_as_they_learn() -> None:
    wider = Generator(wide(2))
    lend(Generator(NARROW), wider)
    first, second = wider.features(Z_BZ, Y_BL, 32).chunk(2, dim=1)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    wider(Z_BZ, Y_BL).square().mean().backward()
    torch.optim.SGD(wider.parameters(), lr=0.1).step()
    first, second = wider.features(Z_BZ, Y_BL, 32).chunk(2, dim=1)
    assert (first - second).abs().max() > 0.01


def test_weights_keep_the_variance_that_equalized_layers_begin_with() -> None:
    wider = Generator(wide(2))
    lend(Generator(NARROW), wider)
    for name, parameter in wider.named_parameters():
        if name.endswith("weight") and parameter.numel() > 500:
            assert 0.85 < float(parameter.detach().square().mean()) < 1.15, name


def test_a_larger_one_may_be_wider_as_well() -> None:
    generator, wider = Generator(NARROW), Generator(wide(2, resolution=64))
    lend(generator, wider)
    image_BCHW = generator(Z_BZ, Y_BL)
    torch.testing.assert_close(wider(Z_BZ, Y_BL, resolution=32), image_BCHW, atol=1e-4, rtol=1e-4)


def test_it_is_the_same_every_time_and_what_does_not_fit_stays() -> None:
    weights, wanted = Generator(NARROW).state_dict(), Generator(wide(2)).state_dict()
    once, again = widened(weights, wanted), widened(weights, wanted)
    assert all(torch.equal(once[name], again[name]) for name in weights)

    def unchanged(config: GeneratorConfig) -> list[str]:
        wanted: dict[str, Tensor] = Generator(config).state_dict()
        given = widened(weights, wanted)
        return [name for name in weights if given[name].shape != wanted[name].shape]

    assert "blocks.2.conv1.weight" in unchanged(GeneratorConfig(32, 8, 5, 4, 64, 32))  # narrower
    assert "blocks.2.conv1.weight" in unchanged(GeneratorConfig(32, 8, 5, 4, 192, 32))  # by half
    assert "conv.weight" in unchanged(GeneratorConfig(32, 8, 5, 4, 256, 64))  # 4 px too
