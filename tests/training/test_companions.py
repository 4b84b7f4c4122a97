"""What holds for every discriminator that stands beside the first, whatever it is shown."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from training_backbones import halvings
from training_runs import go, tensors

from training.companions import Companion
from training.config import (
    AugmentConfig,
    CompanionConfig,
    FeatureConfig,
    NetworkConfig,
    PatchConfig,
    ScheduleConfig,
    TrainConfig,
    VarietyConfig,
)
from training.dataset import Dataset
from training.errors import ConfigError
from training.inputs import Inputs, inputs_at
from training.plan import plan
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, generate, step_companions, step_discriminator, step_generator

CPU = torch.device("cpu")
ALONE = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=0.16, hold_kimg=0.04, fade_kimg=0.04, batch_size=8),
    precision="fp32",
    snapshot_kimg=0.04,
    sample_kimg=0.16,
    log_kimg=0.04,
)
PHASE = Phase(16, 1.0, 8, 1e-3)
COMPANIONS: dict[str, CompanionConfig] = {
    "features": FeatureConfig(weight=0.5, probability=0),
    "patches": PatchConfig(weight=0.5),
    "variety": VarietyConfig(weight=0.5),
}
each = pytest.mark.parametrize("name", COMPANIONS)


def beside(name: str, kimg: float = 0.16, **settings: object) -> TrainConfig:
    """A run with this companion, so long."""
    companion = dataclasses.replace(COMPANIONS[name], **settings)  # type: ignore[arg-type]
    schedule = dataclasses.replace(ALONE.schedule, total_kimg=kimg)
    return dataclasses.replace(ALONE, schedule=schedule, **{name: companion})  # type: ignore[arg-type]


def begun(config: TrainConfig, dataset: Dataset) -> tuple[TrainingState, Setup, Inputs]:
    state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
    setup = Setup(config, dataset.label_sizes, CPU, bf16=False, backbone=halvings)
    sampler = Sampler(dataset, seed=0)
    return state, setup, inputs_at(0, PHASE, sampler, config, take=np.arange(8), device=CPU)


@each
@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
def test_the_generator_lowers_what_it_holds_against_its_pictures(
    name: str, loss: str, dataset: Dataset
) -> None:
    state, setup, inputs = begun(beside(name, generator_loss=loss), dataset)
    companion = state.companions[name]
    for _ in range(20):
        step_companions(state, inputs, generate(state, inputs, PHASE, setup), setup)

    def unreal() -> float:
        with torch.no_grad():
            return -float(companion.score(generate(state, inputs, PHASE, setup)).mean())

    before, weights = unreal(), [p.detach().clone() for p in companion.network.parameters()]
    for _ in range(10):
        fake = generate(state, inputs, PHASE, setup)
        step_discriminator(state, inputs, fake, PHASE, setup)
        step_generator(state, inputs, fake, PHASE, setup)
    assert unreal() < before
    now = list(companion.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))
    assert all(p.requires_grad for p in now)


@each
def test_with_a_loss_that_saturates_the_best_pictures_pull_least(
    name: str, dataset: Dataset
) -> None:
    def pull(loss: str) -> Tensor:
        state, _, _ = begun(beside(name, generator_loss=loss), dataset)
        companion: Companion = state.companions[name]
        score_B = torch.tensor([-3.0, 0.0, 3.0], requires_grad=True)
        companion.generator_loss(score_B).backward()
        assert score_B.grad is not None
        return -3 * score_B.grad

    torch.testing.assert_close(pull("hinge"), torch.ones(3))
    saturating = pull("non_saturating")
    torch.testing.assert_close(saturating, torch.sigmoid(torch.tensor([3.0, 0.0, -3.0])))


@each
def test_the_generator_is_told_by_the_loss_that_was_asked_for(name: str, dataset: Dataset) -> None:
    gradients = []
    for loss in ("hinge", "non_saturating"):
        torch.manual_seed(0)
        state, setup, inputs = begun(beside(name, generator_loss=loss, weight=50), dataset)
        fake = generate(state, inputs, PHASE, setup)
        step_generator(state, inputs, fake, PHASE, setup)
        gradient = [p.grad.flatten() for p in state.generator.parameters() if p.grad is not None]
        gradients.append(torch.cat(gradient).norm())
    # At a score of 0 one pulls half as much as the other, and less at what fools it; fresh scores
    # lie between 0 and 2.
    assert 0.1 < gradients[1] / gradients[0] < 0.6


@each
@pytest.mark.usefixtures("cheap_backbone")
def test_a_run_takes_it_up_half_way_and_goes_on_to_the_same_bits(
    name: str, tmp_path: Path, dataset: Dataset
) -> None:
    for run in ("whole", "cut"):
        go(beside(name, 0.04, weight=0), dataset, tmp_path / run)
    assert not any(key.startswith(f"{name}/") for key in tensors(tmp_path / "whole"))
    assert f"{name}_d" in go(beside(name), dataset, tmp_path / "whole", resume=True)
    go(beside(name, 0.088), dataset, tmp_path / "cut", resume=True)
    go(beside(name), dataset, tmp_path / "cut", resume=True)
    whole, cut = tensors(tmp_path / "whole"), tensors(tmp_path / "cut")
    assert any(key.startswith(f"{name}/") for key in whole)
    assert any(key.startswith(f"optimizer_{name[0]}/") for key in whole)
    assert whole.keys() == cut.keys()
    assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []


@each
@pytest.mark.usefixtures("cheap_backbone")
def test_a_run_goes_on_without_it(name: str, tmp_path: Path, dataset: Dataset) -> None:
    assert f"{name}_d" in go(beside(name, 0.04), dataset, tmp_path / "run")
    without = beside(name, 0.08, weight=0)
    assert f"{name}_d" not in go(without, dataset, tmp_path / "run", resume=True)


@each
@pytest.mark.usefixtures("cheap_backbone")
def test_a_dry_run_counts_it_in(
    name: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped: list[str] = []

    def counted(state: TrainingState, *given: object) -> dict[str, Tensor]:
        stepped.extend(state.companions)
        return {}

    monkeypatch.setattr("training.steps.step_companions", counted)
    looked = plan(beside(name), dataset, CPU)
    assert all(phase.measured and phase.seconds > 0 for phase in looked.phases)
    assert len(stepped) >= len(looked.phases)
    assert set(stepped) == {name}


@pytest.mark.parametrize("name", ["patches", "features"])
def test_it_sees_real_pictures_augmented_as_generated_ones_are(name: str, dataset: Dataset) -> None:
    """Else it could tell them by the augmentation. (What variety sees: test_variety.py.)"""
    config = dataclasses.replace(
        beside(name),
        augment=AugmentConfig(mode="fixed", kinds=("cutout",), probability=name == "patches"),
        features=FeatureConfig(weight=beside(name).features.weight, probability=1),
    )
    state, setup, inputs = begun(config, dataset)
    shown: list[Tensor] = []

    def backbone(image_BCHW: Tensor) -> list[Tensor]:
        shown.append(image_BCHW)
        return halvings(image_BCHW)

    if name == "patches":  # which sees the pictures themselves
        state.companions[name].network.register_forward_pre_hook(
            lambda _, given: shown.append(given[0])
        )
    else:
        setup = dataclasses.replace(setup, backbone=backbone)
    step_companions(state, inputs, generate(state, inputs, PHASE, setup), setup)
    assert len(shown) == 2
    for image_BCHW in shown:
        cut_B = (image_BCHW == 0).all(dim=1).float().mean(dim=(1, 2))
        assert (cut_B > 0.05).all()


@each
def test_settings_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}\.weight is -1"):
        beside(name, weight=-1)
    with pytest.raises(ConfigError, match=rf"{name}\.rate is 0.*above 0"):
        beside(name, rate=0)
    said = rf"{name}\.generator_loss is 'wgan_gp': choose one of hinge, non"
    with pytest.raises(ConfigError, match=said):
        beside(name, generator_loss="wgan_gp")
