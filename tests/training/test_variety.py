"""The discriminator that sees how much the pictures of a group differ."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training_backbones import halvings

from models.layers import minibatch_stddev
from training.backbone import backbone_of
from training.companions import Seen
from training.config import (
    AugmentConfig,
    FeatureConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
    VarietyConfig,
)
from training.dataset import Dataset
from training.distributed import World
from training.feature_discriminator import TAPS
from training.inputs import inputs_at
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, generate, step_companions
from training.variety_discriminator import VarietyDiscriminator, every_second_group

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=0.16, batch_size=8),
    variety=VarietyConfig(weight=0.5),
    precision="fp32",
)
PHASE = Phase(16, 1.0, 8, 1e-3)


def pictures(count: int, seed: int, *, alike: float = 0.0) -> Tensor:
    """Patterns image_BCHW of 32 px, of one contrast; this share of their variance is common."""
    random = torch.Generator().manual_seed(seed)
    own = torch.randn(count, 3, 4, 4, generator=random)
    common = torch.randn(1, 3, 4, 4, generator=random)
    mixed = alike**0.5 * common + (1 - alike) ** 0.5 * own
    return F.interpolate(0.3 * mixed, (32, 32))


def seen(image_BCHW: Tensor) -> Seen:
    return Seen(image_BCHW, halvings(image_BCHW), None)


def test_each_group_is_scored_at_each_tap() -> None:
    variety = VarietyDiscriminator().eval()
    assert variety(halvings(pictures(8, 0))).shape == (2, len(TAPS))
    assert variety(halvings(pictures(6, 0))).shape == (2, len(TAPS))  # two groups of three


def test_pictures_themselves_do_not_matter_only_how_they_differ() -> None:
    torch.manual_seed(0)
    variety = VarietyDiscriminator().eval()
    image_BCHW = pictures(8, 0)
    score_MS = variety(halvings(image_BCHW))
    elsewhere = image_BCHW + pictures(1, 1)  # the same added to each
    torch.testing.assert_close(variety(halvings(elsewhere)), score_MS, rtol=0, atol=1e-3)
    mixed = image_BCHW[torch.tensor([6, 3, 0, 7, 4, 1, 2, 5])]  # within the groups of every second
    torch.testing.assert_close(variety(halvings(mixed)), score_MS, rtol=0, atol=1e-4)
    assert (variety(halvings(image_BCHW / 2)) - score_MS).abs().max() > 0.01


def test_groups_are_those_that_processes_share_out() -> None:
    """Else two processes would not take the step that one takes."""
    torch.manual_seed(0)
    variety, image_BCHW = VarietyDiscriminator().eval(), pictures(16, 0)
    whole_MS = variety(halvings(image_BCHW))
    shares = [World(rank, 2).rows(16) for rank in range(2)]
    parts = [variety(halvings(image_BCHW[torch.from_numpy(rows)])) for rows in shares]
    torch.testing.assert_close(torch.cat(parts), whole_MS)
    # and those of the deviation in the first discriminator
    per_picture = minibatch_stddev(image_BCHW)[:, -1, 0, 0]
    assert torch.equal(per_picture[:4], per_picture[4:8])


def test_pictures_that_are_all_alike_give_finite_gradients() -> None:
    image_BCHW = pictures(1, 0).repeat(8, 1, 1, 1).requires_grad_()
    VarietyDiscriminator()(halvings(image_BCHW)).sum().backward()
    assert image_BCHW.grad is not None
    assert image_BCHW.grad.isfinite().all()


def test_it_tells_pictures_that_are_right_one_by_one_and_too_alike(dataset: Dataset) -> None:
    config = dataclasses.replace(CONFIG, features=FeatureConfig(probability=0))
    state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
    setup = Setup(config, dataset.label_sizes, CPU, bf16=False, backbone=halvings)
    phase = Phase(16, 1.0, 32, 1e-3)
    sampler = Sampler(dataset, seed=0)
    inputs = inputs_at(0, phase, sampler, config, take=np.arange(32), device=CPU)
    for step in range(80):
        shown = dataclasses.replace(inputs, real_BCHW=pictures(32, step))
        told = step_companions(state, shown, seen(pictures(32, 1000 + step, alike=0.4)), setup)
    assert float(told["variety_d"].detach()) < 1  # 2 before it has learnt anything
    variety = state.companions["variety"]
    with torch.no_grad():
        good, bad = seen(pictures(64, 5000)), seen(pictures(64, 6000, alike=0.4))
        assert variety.score(good).mean() > 0.3 > -0.3 > variety.score(bad).mean()


def test_it_sees_every_second_group_as_it_is(dataset: Dataset) -> None:
    """Squares and shifts that differ from picture to picture would hide how much those do."""
    config = dataclasses.replace(
        CONFIG,
        features=FeatureConfig(weight=1, probability=0.5),
        augment=AugmentConfig(mode="fixed", probability=1),
    )
    shown: list[Tensor] = []

    def backbone(image_BCHW: Tensor) -> list[Tensor]:
        shown.append(image_BCHW)
        return halvings(image_BCHW)

    state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
    setup = Setup(config, dataset.label_sizes, CPU, bf16=False, backbone=backbone)
    phase = Phase(16, 1.0, 16, 1e-3)
    inputs = inputs_at(0, phase, Sampler(dataset, seed=0), config, take=np.arange(16), device=CPU)
    step_companions(state, inputs, generate(state, inputs, phase, setup), setup)
    _, real_BCHW = shown
    same_B = (real_BCHW == inputs.real_BCHW).flatten(1).all(dim=1)
    # Groups are 0, 4, 8, 12 and so on; of the others each picture is moved and cut.
    assert same_B.tolist() == [True, False, True, False] * 4
    judged_BCHW = every_second_group(real_BCHW)
    assert torch.equal(judged_BCHW, inputs.real_BCHW[same_B])
    variety = state.companions["variety"].network.eval()
    whole_MS = variety(halvings(inputs.real_BCHW))
    torch.testing.assert_close(variety(halvings(judged_BCHW)), whole_MS[::2])


@pytest.mark.usefixtures("cheap_backbone")
def test_it_alone_is_reason_enough_for_the_frozen_network() -> None:
    assert backbone_of(CONFIG, CPU, bf16=False) is not None
    without = dataclasses.replace(CONFIG, variety=VarietyConfig())
    assert backbone_of(without, CPU, bf16=False) is None
