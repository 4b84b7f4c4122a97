"""A recorded step does what the step does that it was recorded from."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training_archives import write_archive
from training_backbones import halvings

from training.config import (
    AugmentConfig,
    FeatureConfig,
    LossConfig,
    NetworkConfig,
    PatchConfig,
    ScheduleConfig,
    TrainConfig,
    VarietyConfig,
)
from training.dataset import Dataset
from training.errors import TrainingError
from training.inputs import inputs_at
from training.recorded_steps import WARM_UP, Steps
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, step
from training.stopping import Stop
from training.trainer import train

CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=128, fmap_max=16),
    schedule=ScheduleConfig(total_kimg=1, start_resolution=16, batch_size=8),
    loss=LossConfig(r1_interval=2),
    augment=AugmentConfig(mode="fixed", probability=0.5),
    features=FeatureConfig(weight=0.5),
    patches=PatchConfig(weight=0.25),
    variety=VarietyConfig(weight=0.25),
    precision="fp32",
)
PHASE = Phase(16, 1.0, 8, 1e-3)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "noise.zip"
    return Dataset(write_archive(path, resolution=16))


def begun(dataset: Dataset, device: torch.device) -> tuple[TrainingState, Setup]:
    network = CONFIG.network.generator(dataset.label_dim)
    setup = Setup(CONFIG, dataset.label_sizes, device, bf16=False, backbone=halvings)
    return TrainingState.initial(CONFIG, network, device), setup


def taken(
    state: TrainingState, setup: Setup, dataset: Dataset, steps: int, *, recorded: bool
) -> list[dict[str, float]]:
    """The scalars of so many steps; learning rates change on the way."""
    sampler, all_steps, rows = Sampler(dataset, seed=0), Steps(state, setup), []
    for number in range(steps):
        phase = dataclasses.replace(PHASE, learning_rate=1e-3 / (1 + number))
        state.set_learning_rates(phase)
        inputs = inputs_at(
            number * 8, phase, sampler, CONFIG, take=np.arange(8), device=setup.device
        )
        scalars = all_steps(inputs, phase) if recorded else step(state, inputs, phase, setup)
        rows.append({name: float(value) for name, value in scalars.items()})
        state.update_average(0.9)
        state.step += 1
    return rows


def test_where_nothing_can_be_recorded_steps_are_plain(dataset: Dataset) -> None:
    one, setup = begun(dataset, torch.device("cpu"))
    other = copy.deepcopy(one)
    rows = taken(one, setup, dataset, 5, recorded=True)
    assert rows == taken(other, setup, dataset, 5, recorded=False)
    assert {"loss_d", "features_d", "patches_d", "variety_d", "loss_g", "r1"} <= set(rows[0])
    for mine, theirs in zip(one.average.parameters(), other.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_scalars_hold_no_way_back_to_the_networks(dataset: Dataset) -> None:
    state, setup = begun(dataset, torch.device("cpu"))
    inputs = inputs_at(
        0, PHASE, Sampler(dataset, seed=0), CONFIG, take=np.arange(8), device=setup.device
    )
    assert not any(value.requires_grad for value in step(state, inputs, PHASE, setup).values())


@pytest.mark.gpu
@NEEDS_CUDA
def test_recorded_steps_move_the_networks_as_plain_ones_do(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    device = torch.device("cuda")
    one, setup = begun(dataset, device)
    other, _ = begun(dataset, device)
    steps = 2 * (WARM_UP + 3)
    recorded = taken(one, setup, dataset, steps, recorded=True)
    plain = taken(other, setup, dataset, steps, recorded=False)
    for number, (mine, theirs) in enumerate(zip(recorded, plain, strict=True)):
        assert mine.keys() == theirs.keys()
        assert mine == pytest.approx(theirs, rel=2e-2, abs=2e-3), number
    for mine, theirs in zip(one.average.parameters(), other.average.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=2e-2, atol=2e-3)


@pytest.mark.gpu
@NEEDS_CUDA
def test_a_recording_follows_the_learning_rate(dataset: Dataset) -> None:
    state, setup = begun(dataset, torch.device("cuda"))
    steps, sampler = Steps(state, setup), Sampler(dataset, seed=0)
    state.step = 1
    for number in range(WARM_UP + 3):
        still = dataclasses.replace(PHASE, learning_rate=0.0 if number > WARM_UP else 1e-3)
        state.set_learning_rates(still)
        before = state.generator.dense.weight.detach().clone()
        inputs = inputs_at(
            number * 8, still, sampler, CONFIG, take=np.arange(8), device=setup.device
        )
        steps(inputs, still)
        stayed = torch.equal(before, state.generator.dense.weight)
        assert stayed == (number > WARM_UP)


@pytest.mark.gpu
@NEEDS_CUDA
def test_a_whole_run_grows_stops_and_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    config = dataclasses.replace(
        CONFIG,
        schedule=ScheduleConfig(
            total_kimg=1.2, start_resolution=8, hold_kimg=0.4, fade_kimg=0.2, batch_size=8
        ),
        features=FeatureConfig(),
        variety=VarietyConfig(),
        precision="auto",
        log_kimg=0.1,
        metrics_samples=16,
        snapshot_kimg=0.5,
    )
    cuda = torch.device("cuda")
    assert train(config, dataset, tmp_path / "run", device=cuda) == Stop()
    longer = dataclasses.replace(
        config, schedule=dataclasses.replace(config.schedule, total_kimg=1.6)
    )
    assert train(longer, dataset, tmp_path / "run", device=cuda, resume=True) == Stop()


@pytest.mark.gpu
@NEEDS_CUDA
def test_what_cannot_be_recorded_says_so(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    state, setup = begun(dataset, torch.device("cuda"))
    steps, sampler = Steps(state, setup), Sampler(dataset, seed=0)
    inputs = inputs_at(0, PHASE, sampler, CONFIG, take=np.arange(8), device=setup.device)
    state.step = 1
    for _ in range(WARM_UP):
        steps(inputs, PHASE)

    def looks(*given: object) -> dict[str, torch.Tensor]:
        return {"loss_d": torch.tensor(inputs.z_BZ.sum().item())}

    monkeypatch.setattr("training.recorded_steps.step", looks)
    with pytest.raises(TrainingError, match="record_steps=false"):
        steps(inputs, PHASE)
