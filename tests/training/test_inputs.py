import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training_archives import write_archive

from models import from_pixels
from models.layers import downsample, upsample
from training.config import NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.inputs import Inputs, inputs_at
from training.sampler import Sampler
from training.schedule import Phase

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8),
    schedule=ScheduleConfig(total_kimg=1, batch_size=8),
)
PHASE = Phase(16, 1.0, 8, 1e-3)


@pytest.fixture
def sampler(tmp_path: Path) -> Sampler:
    return Sampler(Dataset(write_archive(tmp_path / "noise.zip")), seed=0)


def at(sampler: Sampler, seen: int, phase: Phase = PHASE, take: list[int] | None = None) -> Inputs:
    rows = np.arange(8) if take is None else np.array(take)
    return inputs_at(seen, phase, sampler, CONFIG, take=rows, device=CPU)


def test_inputs_depend_on_the_position_alone(sampler: Sampler) -> None:
    again = Sampler(sampler.dataset, seed=0)
    for field in dataclasses.fields(Inputs):
        one, other, later = (
            getattr(at(s, n), field.name) for s, n in ((sampler, 24), (again, 24), (sampler, 32))
        )
        assert torch.equal(one, other)
        assert not torch.equal(one, later)


def test_a_process_gets_its_rows_of_every_draw(sampler: Sampler) -> None:
    whole, part = at(sampler, 8), at(sampler, 8, take=[1, 5])
    for field in dataclasses.fields(Inputs):
        assert torch.equal(getattr(part, field.name), getattr(whole, field.name)[[1, 5]])


def test_no_two_draws_share_their_random_numbers(sampler: Sampler) -> None:
    inputs = at(sampler, 0)
    assert not torch.equal(inputs.real_draw_BK, inputs.fake_draw_BK)
    assert not torch.equal(inputs.real_draw_BK[:, 0], inputs.mix_B)


def test_real_pictures_fade_as_the_networks_do(sampler: Sampler) -> None:
    real = from_pixels(torch.from_numpy(sampler.batch(16, 8, images_seen=0).image_BHWC))
    blurred = upsample(downsample(real))
    faded = at(sampler, 0, dataclasses.replace(PHASE, alpha=0.25)).real_BCHW
    torch.testing.assert_close(faded, 0.75 * blurred + 0.25 * real)
    assert torch.equal(at(sampler, 0, dataclasses.replace(PHASE, alpha=0.0)).real_BCHW, blurred)
    assert torch.equal(at(sampler, 0).real_BCHW, real)


@pytest.mark.parametrize("influence", [0.0, 0.25])
def test_labels_ramp_from_their_average(sampler: Sampler, influence: float) -> None:
    pure = at(sampler, 0)
    ramped = at(sampler, 0, dataclasses.replace(PHASE, label_influence=influence))
    mean = torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    for name in ("real_label_BL", "fake_label_BL"):
        expected = (1 - influence) * mean + influence * getattr(pure, name)
        torch.testing.assert_close(getattr(ramped, name), expected)


def test_without_attributes_there_are_no_labels(tmp_path: Path) -> None:
    plain = Sampler(Dataset(write_archive(tmp_path / "plain.zip", labelled=False)), seed=0)
    inputs = at(plain, 0)
    assert inputs.real_label_BL is None
    assert inputs.fake_label_BL is None
