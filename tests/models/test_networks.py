from collections.abc import Iterable

import pytest
import torch
from torch import nn

from models import Discriminator, Generator, GeneratorConfig, from_pixels, to_pixels
from models.discriminator import CONDITIONINGS
from models.layers import upsample

SMALL = {"latent_dim": 8, "fmap_base": 512, "fmap_max": 8}


def latents(config: GeneratorConfig, batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, config.latent_dim)


def one_hots(config: GeneratorConfig, batch: int = 4) -> torch.Tensor | None:
    if not config.label_dim:
        return None
    return torch.eye(config.label_dim)[torch.arange(batch) % config.label_dim]


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_every_power_of_two_from_8_to_1024_makes_both_networks(resolution: int) -> None:
    config = GeneratorConfig(resolution, **SMALL)
    image = Generator(config)(latents(config, 1))
    assert image.shape == (1, 3, resolution, resolution)
    assert Discriminator(config)(image).shape == (1,)


@pytest.mark.parametrize("resolution", [0, 4, 7, 12, 100, 2048])
def test_other_resolutions_are_refused_by_name(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"resolution is {resolution}.*power of two"):
        GeneratorConfig(resolution)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"label_dim": -1}, "label_dim"),
        ({"label_embed_dim": 4}, "label_embed_dim"),
        ({"fmap_base": 16}, "fmap_base"),
    ],
)
def test_impossible_shapes_are_refused_by_name(fields: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        GeneratorConfig(64, **fields)


@pytest.mark.parametrize("label_dim", [0, 3])
@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_alpha_zero_is_exactly_the_upsampled_resolution_below(
    resolution: int, label_dim: int
) -> None:
    config = GeneratorConfig(32, label_dim=label_dim, **SMALL)
    generator, z, y = Generator(config), latents(config), one_hots(config)
    below = generator(z, y, resolution=resolution // 2)
    faded = generator(z, y, resolution=resolution, alpha=0.0)
    assert torch.equal(faded, upsample(below))


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_discriminator_at_alpha_zero_sees_only_the_resolution_below(resolution: int) -> None:
    config = GeneratorConfig(32, **SMALL)
    discriminator = Discriminator(config)
    image = torch.randn(4, 3, resolution // 2, resolution // 2)
    torch.testing.assert_close(
        discriminator(upsample(image), alpha=0.0), discriminator(image), atol=1e-5, rtol=1e-5
    )


def test_folded_generator_equals_the_unfolded_one_and_leaves_it_as_it_was() -> None:
    config = GeneratorConfig(32, label_dim=3, label_embed_dim=5, **SMALL)
    generator, z, y = Generator(config), latents(config), one_hots(config)
    before = generator(z, y)
    folded = generator.fold()
    torch.testing.assert_close(folded(z, y), before, atol=1e-5, rtol=1e-5)
    assert torch.equal(generator(z, y), before)
    assert not any(p.requires_grad for p in folded.parameters())
    assert torch.equal(folded.fold()(z, y), folded(z, y))
    # Nothing is left to be made of the weights at each call.
    assert folded.blocks[0].conv0.weight.shape[2:] == (4, 4)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_folded_discriminator_equals_the_unfolded_one(conditioning: str) -> None:
    config = GeneratorConfig(32, label_dim=3, label_embed_dim=5, **SMALL)
    discriminator, y = Discriminator(config, conditioning), one_hots(config)
    image = torch.randn(4, 3, 32, 32)
    before = discriminator(image, y)
    folded = discriminator.fold()
    torch.testing.assert_close(folded(image, y), before, atol=1e-5, rtol=1e-5)
    assert torch.equal(discriminator(image, y), before)
    assert torch.equal(folded.fold()(image, y), folded(image, y))
    assert folded.blocks[0].conv1.weight.shape[2:] == (4, 4)


@pytest.mark.parametrize("embed", [0, 5])
def test_labels_change_pictures_and_scores(embed: int) -> None:
    config = GeneratorConfig(16, label_dim=3, label_embed_dim=embed, **SMALL)
    generator, discriminator = Generator(config), Discriminator(config)
    z = latents(config, 1).expand(3, -1)
    image = generator(z, torch.eye(3))
    assert not torch.allclose(image[0], image[1])
    same = image[:1].expand(3, -1, -1, -1)
    scores = discriminator(same, torch.eye(3))
    assert scores.unique().numel() == 3


def test_a_missing_or_unwanted_label_is_refused() -> None:
    conditional = GeneratorConfig(8, label_dim=3, **SMALL)
    plain = GeneratorConfig(8, **SMALL)
    with pytest.raises(ValueError, match="pass y_BL"):
        Generator(conditional)(latents(conditional))
    with pytest.raises(ValueError, match="do not pass y_BL"):
        Generator(plain)(latents(plain), torch.eye(4))
    with pytest.raises(ValueError, match="pass y_BL"):
        Discriminator(conditional)(torch.zeros(4, 3, 8, 8))


def test_a_resolution_off_the_path_is_refused() -> None:
    config = GeneratorConfig(16, **SMALL)
    with pytest.raises(ValueError, match="resolution 32 is not one"):
        Generator(config)(latents(config), resolution=32)


def test_every_parameter_takes_part_while_a_resolution_fades_in() -> None:
    config = GeneratorConfig(8, label_dim=3, label_embed_dim=4, **SMALL)
    generator, discriminator = Generator(config), Discriminator(config)
    y = one_hots(config)
    discriminator(generator(latents(config), y, alpha=0.5), y, alpha=0.5).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_full_size_networks_have_the_published_number_of_parameters() -> None:
    config = GeneratorConfig(1024)
    with torch.device("meta"):
        generator, discriminator = Generator(config), Discriminator(config)
    # The first layer's bias is per unit here and per map there: 15/16 of it is ours alone.
    extra = 15 * 512
    assert sum(p.numel() for p in generator.parameters()) - extra == 23_079_115
    assert sum(p.numel() for p in discriminator.parameters()) == 23_087_249


def test_pixels_round_trip_and_clip() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3)
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)
    assert to_pixels(torch.full((1, 3, 1, 1), 1.7)).max() == 255
    assert to_pixels(torch.full((1, 3, 1, 1), -1.7)).min() == 0


# Karras et al. (arXiv 1710.10196), table 2: parameters of every layer, as printed there.
PAPER_GENERATOR = [
    "4.2M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "1.2M",
    "590k",
    "295k",
    "148k",
    "74k",
    "37k",
    "18k",
    "9.2k",
    "4.6k",
    "2.3k",
    "51",
]
PAPER_DISCRIMINATOR = [
    "64",
    "2.3k",
    "4.6k",
    "9.2k",
    "18k",
    "37k",
    "74k",
    "148k",
    "295k",
    "590k",
    "1.2M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "2.4M",
    "4.2M",
    "513",
]


def as_printed(modules: Iterable[nn.Module]) -> list[str]:
    """Parameter counts with two digits, the way the table writes them."""
    counts = [sum(p.numel() for p in module.parameters()) for module in modules]
    return [written(count) for count in counts]


def written(count: int) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            share = count / unit
            return f"{share:.0f}{letter}" if share >= 10 else f"{share:.1f}{letter}"
    return str(count)


def test_every_layer_of_the_full_networks_has_the_published_size() -> None:
    config = GeneratorConfig(1024)
    with torch.device("meta"):
        g, d = Generator(config), Discriminator(config)
    body = [layer for block in g.blocks for layer in (block.conv0, block.conv1)]
    assert as_printed([g.dense, g.conv, *body, g.to_rgb[-1]]) == PAPER_GENERATOR
    body = [layer for block in reversed(d.blocks) for layer in (block.conv0, block.conv1)]
    layers = [d.from_rgb[-1], *body, d.conv, d.dense, d.score]
    assert as_printed(layers) == PAPER_DISCRIMINATOR


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_each_conditioning_uses_every_weight_and_sees_labels_its_own_way(conditioning: str) -> None:
    config = GeneratorConfig(8, label_dim=3, **SMALL)
    discriminator, y = Discriminator(config, conditioning), torch.eye(3)
    same = torch.randn(1, 3, 8, 8).expand(3, -1, -1, -1)
    score_B, logit_BL = discriminator.judge(same, y, alpha=0.5)
    # The auxiliary head guesses the label, so the score must not know it.
    assert score_B.unique().numel() == (1 if conditioning == "auxiliary" else 3)
    assert (logit_BL is None) == (conditioning != "auxiliary")
    loss = score_B.sum() + (logit_BL * y).sum() if logit_BL is not None else score_B.sum()
    loss.backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_without_labels_every_conditioning_is_the_same_network(conditioning: str) -> None:
    config = GeneratorConfig(8, **SMALL)
    names = [name for name, _ in Discriminator(config, conditioning).named_parameters()]
    assert names == [name for name, _ in Discriminator(config).named_parameters()]


def test_an_unknown_conditioning_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="conditioning is 'film': choose one of projection"):
        Discriminator(GeneratorConfig(8, **SMALL), "film")
