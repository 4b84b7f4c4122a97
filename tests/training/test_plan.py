import dataclasses
from pathlib import Path

import pytest
import torch
from training_archives import write_archive

import training.plan
from training.config import NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError
from training.plan import PlannedPhase, duration, label_warnings, plan, planned_phases, written
from training.presets import PRESETS, celeba_hq_1024

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=40, hold_kimg=10, fade_kimg=5, batch_size=8),
)


@pytest.mark.parametrize("name", PRESETS)
def test_phases_cover_the_whole_run(name: str) -> None:
    config = PRESETS[name]()
    phases = list(planned_phases(config))
    ends = [phase.end_kimg for phase in phases]
    assert [0.0, *ends[:-1]] == [phase.start_kimg for phase in phases]
    assert ends[-1] == config.schedule.total_kimg
    assert phases[-1].resolution == config.network.resolution


def test_phases_are_those_of_the_schedule() -> None:
    assert list(planned_phases(CONFIG)) == [
        PlannedPhase(0, 10, 8, False, 8),
        PlannedPhase(10, 15, 16, True, 8),
        PlannedPhase(15, 40, 16, False, 8),
    ]
    short = dataclasses.replace(CONFIG.schedule, total_kimg=12, fade_kimg=0)
    cut = list(planned_phases(dataclasses.replace(CONFIG, schedule=short)))
    assert cut == [PlannedPhase(0, 10, 8, False, 8), PlannedPhase(10, 12, 16, False, 8)]


def test_a_plan_times_every_phase_and_writes_nothing(tmp_path: Path, dataset: Dataset) -> None:
    before = sorted(tmp_path.rglob("*"))
    looked = plan(CONFIG, dataset, CPU)
    assert sorted(tmp_path.rglob("*")) == before
    assert all(phase.measured and phase.seconds > 0 for phase in looked.phases)
    assert looked.seconds == pytest.approx(sum(phase.seconds for phase in looked.phases))
    lines = list(written(looked, CONFIG))
    assert len(lines) == 3 + 3 + 1
    assert f"{looked.generator_parameters / 1e6:.2f} M" in lines[1]
    assert "16 px fades in" in lines[4]


def test_steps_of_distillation_are_said_to_be_left_out(dataset: Dataset) -> None:
    schedule = dataclasses.replace(CONFIG.schedule, distil_steps=70)
    *_, last = written(plan(CONFIG, dataset, CPU), dataclasses.replace(CONFIG, schedule=schedule))
    assert "without measures and snapshots, and 70 steps before each new resolution" in last


def test_what_would_take_too_long_to_time_is_estimated_from_its_pixels(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.plan, "_seconds_per_image", lambda *_: 1.0)
    phases = plan(CONFIG, dataset, CPU, patience=0.0).phases
    assert [phase.measured for phase in phases] == [True, False, False]
    assert [phase.seconds for phase in phases] == [10_000, 4 * 5_000, 4 * 25_000]


def test_the_papers_networks_have_the_published_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.plan, "_seconds_per_image", lambda *_: 1.0)
    archive = write_archive(tmp_path / "plain.zip", count=1, resolution=1024, labelled=False)
    looked = plan(celeba_hq_1024(), Dataset(archive), CPU)
    assert f"{looked.generator_parameters / 1e6:.1f}" == "23.1"
    assert f"{looked.discriminator_parameters / 1e6:.2f}" == "23.09"


def test_pictures_too_small_are_refused_as_in_training(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="prepare it again with --resolution 1024"):
        plan(celeba_hq_1024(), dataset, CPU)


def test_uneven_and_empty_labels_are_named(dataset: Dataset) -> None:
    assert label_warnings(dataset) == []
    dataset.index_NA[:, 0] = [0] * 47 + [1]
    dataset.index_NA[:, 1] = [0, 1] * 24
    gender, age = label_warnings(dataset)
    assert "gender is uneven: 1 pictures of female, 47 of male" in gender
    assert "no picture has age=20+" in age


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (600, "10 min"), (9000, "2.5 h"), (864_000, "10.0 days")],
)
def test_durations_are_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said
