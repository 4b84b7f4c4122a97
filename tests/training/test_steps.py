import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from training_archives import write_archive

from training.config import (
    AugmentConfig,
    ConditioningConfig,
    LossConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.dataset import Dataset
from training.inputs import Inputs, inputs_at
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Scalars, Setup, generate, step_discriminator, step_generator, use_bf16

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(8, latent_dim=8, label_embed_dim=4, fmap_base=32, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=1, batch_size=8),
    precision="fp32",
)
WGAN_GP = LossConfig(kind="wgan_gp", r1_gamma=0)
PHASE = Phase(8, 1.0, 8, 1e-3)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    path = tmp_path_factory.mktemp("data") / "noise.zip"
    return Sampler(Dataset(write_archive(path, resolution=8)), seed=0)


def prepared(sampler: Sampler, **changes: Any) -> tuple[TrainingState, Inputs, Setup]:
    config = dataclasses.replace(CONFIG, **changes)
    state = TrainingState.initial(config, config.network.generator(5), CPU)
    inputs = inputs_at(0, PHASE, sampler, config, take=np.arange(8), device=CPU)
    return state, inputs, Setup(config, (2, 3), CPU, bf16=False)


def stepped(
    state: TrainingState, inputs: Inputs, setup: Setup, phase: Phase = PHASE
) -> tuple[Scalars, Scalars]:
    fake = generate(state, inputs, phase, setup)
    return (
        step_discriminator(state, inputs, fake, phase, setup),
        step_generator(state, inputs, fake, phase, setup),
    )


def test_each_step_moves_its_own_network_alone(sampler: Sampler) -> None:
    state, inputs, setup = prepared(sampler)
    before = copy.deepcopy(state)
    fake = generate(state, inputs, PHASE, setup)
    step_discriminator(state, inputs, fake, PHASE, setup)
    assert torch.equal(state.generator.dense.weight, before.generator.dense.weight)
    assert not torch.equal(state.discriminator.dense.weight, before.discriminator.dense.weight)
    moved = state.discriminator.dense.weight.clone()
    step_generator(state, inputs, fake, PHASE, setup)
    assert not torch.equal(state.generator.dense.weight, before.generator.dense.weight)
    assert torch.equal(state.discriminator.dense.weight, moved)
    assert all(p.requires_grad for p in state.discriminator.parameters())
    assert torch.equal(state.average.dense.weight, before.average.dense.weight)


def test_r1_is_lazy_and_the_gradient_is_looked_at_as_rarely(sampler: Sampler) -> None:
    state, inputs, setup = prepared(sampler, loss=LossConfig(r1_interval=4))
    for state.step in range(9):
        of_d, of_g = stepped(state, inputs, setup)
        assert ("r1" in of_d) == ("gradient_g" in of_g) == (state.step % 4 == 0)


def test_lazy_r1_weighs_as_much_as_one_at_every_step(sampler: Sampler) -> None:
    gradients = []
    for interval in (1, 8):
        state, inputs, setup = prepared(sampler, loss=LossConfig(r1_interval=interval))
        plain, _, without = prepared(sampler, loss=LossConfig(r1_gamma=0))
        for one, of in ((state, setup), (plain, without)):
            step_discriminator(one, inputs, generate(one, inputs, PHASE, of), PHASE, of)
        weights = [s.discriminator.conv.weight.grad for s in (state, plain)]
        gradients.append(weights[0] - weights[1])
    torch.testing.assert_close(gradients[1], 8 * gradients[0], rtol=1e-3, atol=1e-6)


def test_wgan_gp_takes_its_penalty_at_every_step_and_knows_no_signs(sampler: Sampler) -> None:
    state, inputs, setup = prepared(sampler, loss=WGAN_GP)
    for state.step in range(3):
        of_d, _ = stepped(state, inputs, setup)
        assert {"gradient_penalty"} == of_d.keys() - {"loss_d", "score_real", "score_fake"}


def test_labels_are_guessed_as_far_as_they_are_ramped_in(sampler: Sampler) -> None:
    state, inputs, setup = prepared(sampler, conditioning=ConditioningConfig(kind="auxiliary"))
    of_d, _ = stepped(state, inputs, setup)
    assert of_d["labels_real"] > 0
    assert of_d["labels_fake"] > 0
    assert state.discriminator.classify is not None
    assert state.discriminator.classify.weight.grad is not None
    assert state.generator.embed is not None
    assert state.generator.embed.weight.grad is not None
    start = dataclasses.replace(PHASE, label_influence=0.0)
    assert stepped(state, inputs, setup, start)[0]["labels_real"] == 0


def test_augmentation_changes_what_is_scored_real_and_generated_and_never_the_inputs(
    sampler: Sampler,
) -> None:
    plain, augmented = AugmentConfig(), AugmentConfig(mode="fixed")
    scores = {}
    for augment in (plain, augmented):
        state, inputs, setup = prepared(sampler, augment=augment)
        real = inputs.real_BCHW.clone()
        scores[augment.mode], _ = stepped(state, inputs, setup)
        assert torch.equal(inputs.real_BCHW, real)
    for name in ("score_real", "score_fake", "r1"):
        assert scores["off"][name] != scores["fixed"][name]


def test_bf16_steps_keep_weights_and_losses_in_float32(sampler: Sampler) -> None:
    state, inputs, setup = prepared(sampler, augment=AugmentConfig(mode="fixed"))
    of_d, of_g = stepped(state, inputs, dataclasses.replace(setup, bf16=True))
    assert {value.dtype for value in (of_d | of_g).values()} == {torch.float32}
    assert state.generator.dense.weight.dtype == torch.float32
    assert use_bf16("bf16", CPU)
    assert not use_bf16("fp32", CPU)
