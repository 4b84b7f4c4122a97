import dataclasses
import json

import pytest
from typer.testing import CliRunner

from training.__main__ import app
from training.config import (
    AugmentConfig,
    ConditioningConfig,
    LossConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.errors import ConfigError
from training.presets import PRESETS, celeba_hq_1024, faces_64
from training.schedule import Phase, average_decay_at, fade_ends, phase_at

CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(resolution=32),
    schedule=ScheduleConfig(
        total_kimg=100,
        hold_kimg=10,
        fade_kimg=20,
        batch_size=16,
        batch_size_by_resolution={8: 64},
        learning_rate=2e-3,
        decay_kimg=20,
        final_learning_rate=1e-3,
    ),
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_named_after_themselves_and_survive_json(name: str) -> None:
    config = PRESETS[name]()
    assert config.preset == name
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_reach_their_resolution_before_they_end(name: str) -> None:
    config = PRESETS[name]()
    phase = phase_at(round(config.schedule.total_kimg * 1000) - 1, config)
    assert (phase.resolution, phase.alpha) == (config.network.resolution, 1.0)


@pytest.mark.parametrize(
    ("kimg", "expected"),
    [
        (0, Phase(8, 1.0, 64, 2e-3)),
        (9.999, Phase(8, 1.0, 64, 2e-3)),
        (10, Phase(16, 0.0, 16, 2e-3)),
        (20, Phase(16, 0.5, 16, 2e-3)),
        (30, Phase(16, 1.0, 16, 2e-3)),
        (40, Phase(32, 0.0, 16, 2e-3)),
        (50, Phase(32, 0.5, 16, 2e-3)),
        (80, Phase(32, 1.0, 16, 2e-3)),
        (90, Phase(32, 1.0, 16, 1.5e-3)),
        (100, Phase(32, 1.0, 16, 1e-3)),
        (500, Phase(32, 1.0, 16, 1e-3)),
    ],
)
def test_phase_follows_from_images_seen(kimg: float, expected: Phase) -> None:
    phase = phase_at(round(kimg * 1000), CONFIG)
    assert dataclasses.astuple(phase) == pytest.approx(dataclasses.astuple(expected))


def test_without_fading_a_resolution_is_there_at_once() -> None:
    schedule = dataclasses.replace(CONFIG.schedule, fade_kimg=0)
    phase = phase_at(10_000, dataclasses.replace(CONFIG, schedule=schedule))
    assert (phase.resolution, phase.alpha) == (16, 1.0)


def test_average_halves_over_its_half_life_and_starts_fast() -> None:
    config = dataclasses.replace(CONFIG, average_half_life_kimg=1.0, average_ramp=0.5)
    assert average_decay_at(1_000_000, 100, config) ** 10 == pytest.approx(0.5)
    assert average_decay_at(400, 100, config) ** 2 == pytest.approx(0.5)
    assert average_decay_at(0, 100, config) == 0.0


@pytest.mark.parametrize("resolution", [4, 12, 63, 2048])
def test_a_resolution_that_is_no_power_of_two_is_refused(resolution: int) -> None:
    with pytest.raises(ConfigError, match=f"{resolution}.*power of two"):
        NetworkConfig(resolution=resolution)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda: ScheduleConfig(total_kimg=0), "total_kimg"),
        (lambda: ScheduleConfig(total_kimg=1, hold_kimg=0), "hold_kimg"),
        (lambda: ScheduleConfig(total_kimg=1, fade_kimg=-1), "fade_kimg"),
        (lambda: ScheduleConfig(total_kimg=1, batch_size=0), "batch sizes"),
        (lambda: ScheduleConfig(total_kimg=1, learning_rate=0), "learning_rate"),
        (
            lambda: ScheduleConfig(total_kimg=1, learning_rate_by_resolution={8: 0}),
            "learning rates are",
        ),
        (lambda: LossConfig(kind="cosine"), "loss.kind is 'cosine': choose one of non_saturating"),
        (lambda: LossConfig(kind="wgan_gp"), "set loss.r1_gamma to 0"),
        (lambda: LossConfig(drift=-1), "loss.drift is -1"),
        (lambda: ConditioningConfig(kind="film"), "conditioning.kind"),
        (lambda: ConditioningConfig(draw="rare"), "conditioning.draw"),
        (lambda: ConditioningConfig(ramp_kimg=-1), "conditioning.ramp_kimg"),
        (lambda: AugmentConfig(mode="on"), "augment.mode"),
        (lambda: AugmentConfig(kinds=("blur",)), "augment.kinds"),
        (lambda: AugmentConfig(probability=1.5), "augment.probability"),
        (lambda: AugmentConfig(interval=0), "augment.interval"),
        (lambda: dataclasses.replace(CONFIG, average_decay=1), "average_decay"),
        (lambda: dataclasses.replace(CONFIG, average_restart_kimg=-1), "average_restart_kimg"),
        (lambda: dataclasses.replace(CONFIG, metrics_samples=1), "metrics_samples"),
        (
            lambda: dataclasses.replace(
                CONFIG,
                loss=LossConfig(kind="wgan_gp", r1_gamma=0),
                augment=AugmentConfig(mode="adaptive"),
            ),
            "choose fixed, or another loss.kind",
        ),
        (lambda: LossConfig(r1_gamma=-1), "loss.r1_gamma"),
        (lambda: LossConfig(r1_interval=0), "loss.r1_interval"),
        (lambda: dataclasses.replace(CONFIG, precision="fp8"), "precision"),
        (lambda: dataclasses.replace(CONFIG, keep_snapshots=1), "keep_snapshots"),
        (lambda: dataclasses.replace(CONFIG, snapshot_kimg=0), "snapshot_kimg"),
        (
            lambda: dataclasses.replace(
                CONFIG, schedule=dataclasses.replace(CONFIG.schedule, start_resolution=64)
            ),
            "start_resolution",
        ),
    ],
)
def test_bad_settings_are_refused_by_name(change: object, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        change()  # type: ignore[operator]


def test_an_unknown_field_in_a_saved_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        TrainConfig.from_dict({**CONFIG.to_dict(), "colour": 1})


def test_a_configuration_from_before_a_field_existed_takes_its_default() -> None:
    old = CONFIG.to_dict()
    for name in ("conditioning", "augment", "holdout", "metrics_kimg", "average_decay"):
        del old[name]
    for name in ("kind", "drift", "gradient_penalty"):
        del old["loss"][name]
    assert TrainConfig.from_dict(json.loads(json.dumps(old))) == CONFIG


def test_a_resolution_may_have_a_learning_rate_of_its_own_which_decays_too() -> None:
    schedule = dataclasses.replace(CONFIG.schedule, learning_rate_by_resolution={32: 4e-3})
    config = dataclasses.replace(CONFIG, schedule=schedule)
    rates = [phase_at(seen, config).learning_rate for seen in (0, 20_000, 60_000, 90_000)]
    assert rates == pytest.approx([2e-3, 2e-3, 4e-3, 2.5e-3])
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_labels_ramp_in_over_the_first_kimg() -> None:
    config = dataclasses.replace(CONFIG, conditioning=ConditioningConfig(ramp_kimg=20))
    influence = [phase_at(seen, config).label_influence for seen in (0, 5_000, 20_000, 90_000)]
    assert influence == [0.0, 0.25, 1.0, 1.0]
    assert phase_at(0, CONFIG).label_influence == 1.0


def test_fades_begin_and_end_once_each() -> None:
    step = 16
    ends = [n for n in range(0, 100_000, step) if fade_ends(n, n + step, CONFIG)]
    assert [round(n / 1000) for n in ends] == [10, 30, 40, 60]


def test_a_fixed_average_decay_takes_the_half_lifes_place() -> None:
    assert average_decay_at(0, 8, dataclasses.replace(CONFIG, average_decay=0.999)) == 0.999


@pytest.mark.parametrize(
    ("kimg", "resolution", "alpha", "batch"),
    [
        (0, 4, 1.0, 128),
        (599, 4, 1.0, 128),
        (600, 8, 0.0, 128),
        (900, 8, 0.5, 128),
        (1200, 8, 1.0, 128),
        (1800, 16, 0.0, 128),
        (4199, 32, 1.0, 64),
        (5400, 128, 0.0, 16),
        (7200, 256, 1.0, 8),
        (9000, 1024, 0.0, 4),
        (9600, 1024, 1.0, 4),
        (11_999, 1024, 1.0, 4),
    ],
)
def test_celeba_hq_follows_the_official_schedule(
    kimg: float, resolution: int, alpha: float, batch: int
) -> None:
    phase = phase_at(round(kimg * 1000), celeba_hq_1024())
    assert (phase.resolution, phase.alpha) == (resolution, pytest.approx(alpha))
    assert (phase.batch_size, phase.learning_rate) == (batch, 1e-3)


def test_the_generator_waits_then_comes_back_step_by_step() -> None:
    schedule = ScheduleConfig(total_kimg=100, discriminator_kimg=10, generator_ramp_kimg=20)
    config = dataclasses.replace(faces_64(), schedule=schedule)
    shares = [phase_at(kimg * 1000, config).generator_share for kimg in (0, 9, 15, 20, 30, 50)]
    assert shares == [0, 0, 0.25, 0.5, 1, 1]
    assert not phase_at(9_000, config).generator_learns
    assert phase_at(10_000, config).generator_learns  # slowly, but it does
    assert phase_at(0, faces_64()).generator_share == 1


def test_the_generator_may_learn_more_slowly_all_along() -> None:
    schedule = ScheduleConfig(total_kimg=100, generator_ramp_kimg=20, generator_rate=0.5)
    config = dataclasses.replace(faces_64(), schedule=schedule)
    shares = [phase_at(kimg * 1000, config).generator_share for kimg in (10, 20, 90)]
    assert shares == [0.25, 0.5, 0.5]
    with pytest.raises(ConfigError, match="generator_rate"):
        ScheduleConfig(total_kimg=100, generator_rate=0)


def test_a_length_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="total_kimg is inf: it must be above 0, and finite"):
        ScheduleConfig(total_kimg=float("inf"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--data", "d.zip", "--run", "r", "--threads", "-1"],
        ["train", "--data", "d.zip", "--run", "r", "--seed", "-1"],
        ["evaluate", "c", "--data", "d.zip", "--report", "r.json", "--seed", "-1"],
        ["inspect", "c", "out", "--data", "d.zip", "--seed", "-1"],
        ["project", "p.png", "c", "out", "--seed", "-1"],
    ],
)
def test_numbers_below_their_range_are_refused_by_name(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert arguments[-2] in result.output
