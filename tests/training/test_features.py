"""The discriminator that sees pictures through a frozen network, and that network."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training_backbones import halvings
from training_runs import go

import training.backbone
import training.metrics.efficientnet
from training.backbone import TAKEN, FrozenEfficientNet
from training.config import FeatureConfig, NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError
from training.feature_discriminator import TAPS, FeatureDiscriminator
from training.inputs import inputs_at
from training.metrics.efficientnet import (
    PACKAGE,
    blocks,
    efficientnet_file,
    load_efficientnet,
    same_padding,
)
from training.metrics.extras import missing
from training.metrics.weights import normalised_convolution
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, generate, step_companions

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=0.16, batch_size=8),
    features=FeatureConfig(weight=0.5),
    precision="fp32",
)
needs_weights = pytest.mark.skipif(missing(PACKAGE) is not None, reason="an optional package")


@needs_weights
def test_the_backbone_is_the_network_that_measures() -> None:
    """Without folding, at the size of the picture, from that module's own parts."""
    image_BCHW = torch.rand(2, 3, 128, 128) * 2 - 1
    weights = load_efficientnet(efficientnet_file())
    x = F.relu6(
        normalised_convolution(
            same_padding(image_BCHW, 3, 2), weights, "_conv_stem", "_bn0", stride=2
        )
    )
    wanted = []
    for number, block in enumerate(blocks()):
        x = training.metrics.efficientnet._inverted_residual(x, weights, block)
        if number in TAKEN:
            wanted.append(x / TAKEN[number])
    given = FrozenEfficientNet(CPU, bf16=False)(image_BCHW)
    assert [tuple(m.shape[1:]) for m in given] == [
        (tap.channels, 4 << tap.halvings, 4 << tap.halvings) for tap in TAPS
    ]
    for given_map, wanted_map in zip(given, wanted, strict=True):
        torch.testing.assert_close(given_map, wanted_map, rtol=1e-3, atol=1e-4)


@needs_weights
def test_its_gradient_by_the_picture_is_the_one_autograd_derives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = FrozenEfficientNet(CPU, bf16=False)

    def gradient() -> Tensor:
        torch.manual_seed(3)
        image_BCHW = torch.rand(2, 3, 64, 64, requires_grad=True)
        loss = torch.stack([(m * torch.randn_like(m)).sum() for m in backbone(image_BCHW)]).sum()
        return torch.autograd.grad(loss, image_BCHW)[0]

    by_hand = gradient()

    def derived(x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
        groups = kernel.shape[0] if kernel.shape[1] == 1 else 1
        padding = (kernel.shape[-1] - 1) // 2
        return F.conv2d(x, kernel, bias, stride=stride, padding=padding, groups=groups)

    monkeypatch.setattr("training.backbone._frozen", derived)
    torch.testing.assert_close(by_hand, gradient(), rtol=1e-3, atol=1e-4)


@needs_weights
@pytest.mark.parametrize(("side", "seen"), [(16, 128), (128, 128), (256, 256), (512, 256)])
def test_small_pictures_are_enlarged_for_it_and_large_ones_averaged(side: int, seen: int) -> None:
    maps = FrozenEfficientNet(CPU, bf16=False)(torch.zeros(1, 3, side, side))
    assert [m.shape[-1] for m in maps] == [seen // 4, seen // 8, seen // 16, seen // 32]


def test_without_its_weights_the_run_is_refused_in_a_sentence(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.metrics.efficientnet, "PACKAGE", "nowhere_to_be_found")
    with pytest.raises(ConfigError, match=r"features\.weight or variety.*\.\[eval\]"):
        go(CONFIG, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_place_is_scored_and_the_label_matters() -> None:
    torch.manual_seed(0)
    features = FeatureDiscriminator(label_dim=5)
    maps, label_BL = halvings(torch.randn(3, 3, 32, 32)), torch.eye(5)[:3]
    score_BS = features(maps, label_BL)
    assert score_BS.shape == (3, 16 * len(TAPS))
    assert not torch.allclose(score_BS, features(maps, label_BL.flip(0)), atol=1e-4)
    assert FeatureDiscriminator(label_dim=0)(maps).shape == (3, 16 * len(TAPS))


def test_it_learns_to_tell_and_its_projections_stay(dataset: Dataset) -> None:
    config = dataclasses.replace(CONFIG, features=FeatureConfig(weight=0.5, probability=0))
    state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
    setup = Setup(config, dataset.label_sizes, CPU, bf16=False, backbone=halvings)
    sampler, phase = Sampler(dataset, seed=0), Phase(16, 1.0, 8, 1e-3)
    inputs = inputs_at(0, phase, sampler, config, take=np.arange(8), device=CPU)
    features = state.companions["features"].network
    stays = {n: t.clone() for n, t in features.named_buffers() if n[:3] in ("mix", "mer")}

    losses = []
    for _ in range(30):
        fake = generate(state, inputs, phase, setup)
        losses.append(float(step_companions(state, inputs, fake, setup)["features_d"].detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert len(stays) == 2 * len(TAPS)
    assert all(torch.equal(dict(features.named_buffers())[n], t) for n, t in stays.items())
