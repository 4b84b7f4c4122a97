import dataclasses
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

import training.trainer
from training.config import ConditioningConfig, NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.measure import better, quick_figures
from training.run_folder import Best
from training.sampler import Sampler
from training.schedule import Phase
from training.snapshot import list_snapshots
from training.state import TrainingState
from training.steps import Setup
from training.trainer import train

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=0.24, start_resolution=16, batch_size=8),
    precision="fp32",
    snapshot_kimg=0.04,
    sample_kimg=1,
    metrics_kimg=0.048,
    metrics_samples=32,
)
FULL = Phase(16, 1.0, 8, 1e-3)


def test_figures_are_of_the_average_and_always_of_the_same_pictures(dataset: Dataset) -> None:
    state = TrainingState.initial(CONFIG, CONFIG.network.generator(5), CPU)
    setup = Setup(CONFIG, dataset.label_sizes, CPU, bf16=False)
    sampler = Sampler(dataset, seed=0)
    figures = quick_figures(state, sampler, FULL, setup)
    assert figures == quick_figures(state, sampler, FULL, setup)
    labels = {"diversity/gender=male", "diversity/gender=female", "diversity/age=0-9"}
    assert {"swd", "swd/16", "diversity", *labels} <= figures.keys()
    with torch.no_grad():
        state.generator.to_rgb[-1].bias.add_(1)
    assert figures == quick_figures(state, sampler, FULL, setup)
    with torch.no_grad():
        state.average.to_rgb[-1].weight.zero_()
    assert quick_figures(state, sampler, FULL, setup)["diversity"] < 1e-6


def test_pictures_of_four_pixels_are_not_measured(dataset: Dataset) -> None:
    state = TrainingState.initial(CONFIG, CONFIG.network.generator(5), CPU)
    setup = Setup(CONFIG, dataset.label_sizes, CPU, bf16=False)
    assert quick_figures(state, Sampler(dataset, seed=0), Phase(4, 1.0, 8, 1e-3), setup) == {}


@pytest.mark.parametrize(
    ("phase", "value", "expected"),
    [
        (FULL, 9.0, Best(200, "swd", 9.0)),
        (FULL, 10.0, Best(100, "swd", 10.0)),
        (dataclasses.replace(FULL, resolution=8), 9.0, Best(100, "swd", 10.0)),
        (dataclasses.replace(FULL, alpha=0.9), 9.0, Best(100, "swd", 10.0)),
        (dataclasses.replace(FULL, label_influence=0.5), 9.0, Best(100, "swd", 10.0)),
    ],
)
def test_only_full_grown_networks_are_compared(phase: Phase, value: float, expected: Best) -> None:
    setup = Setup(CONFIG, (), CPU, bf16=False)
    assert better(Best(100, "swd", 10.0), {"swd": value}, 200, phase, setup) == expected


def run_with(values: list[float], monkeypatch: pytest.MonkeyPatch, dataset: Dataset, run: Path):
    left = iter(values)
    monkeypatch.setattr(
        training.trainer, "quick_figures", lambda *_: {"swd": next(left), "diversity": 1.0}
    )
    train(CONFIG, dataset, run, device=CPU, console=Console(quiet=True))
    return json.loads((run / "best.json").read_text())


def test_the_best_snapshot_outlives_the_newest(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    best = run_with([5.0, 3.0, 4.0, 6.0, 7.0], monkeypatch, dataset, run)
    assert best == {
        "images_seen": 96,
        "measure": "swd",
        "value": 3.0,
        "snapshot": "snapshots/0000000096",
    }
    assert [int(p.name) for p in list_snapshots(run)] == [240, 200, 96]
    assert (run / best["snapshot"] / "state.json").is_file()


def test_a_better_one_takes_its_place(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert run_with([5.0, 3.0, 4.0, 6.0, 2.0], monkeypatch, dataset, run)["images_seen"] == 240
    assert [int(p.name) for p in list_snapshots(run)] == [240, 200]


def test_a_resumed_run_remembers_its_best(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([5.0, 3.0, 4.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(
        training.trainer, "quick_figures", lambda *_: {"swd": next(left), "diversity": 1.0}
    )
    run, console = tmp_path / "run", Console(quiet=True)
    half = dataclasses.replace(
        CONFIG, schedule=dataclasses.replace(CONFIG.schedule, total_kimg=0.12)
    )
    train(half, dataset, run, device=CPU, console=console)
    (run / "best.json").unlink()
    train(CONFIG, dataset, run, device=CPU, resume=True, console=console)
    assert json.loads((run / "best.json").read_text())["images_seen"] == 96
    assert [int(p.name) for p in list_snapshots(run)] == [240, 200, 96]


def test_labels_as_far_as_they_are_ramped_steer_what_is_measured(dataset: Dataset) -> None:
    config = dataclasses.replace(CONFIG, conditioning=ConditioningConfig(ramp_kimg=0.1))
    state = TrainingState.initial(config, config.network.generator(5), CPU)
    setup = Setup(config, dataset.label_sizes, CPU, bf16=False)
    start = dataclasses.replace(FULL, label_influence=0.0)
    sampler = Sampler(dataset, seed=0)
    assert quick_figures(state, sampler, start, setup) != quick_figures(state, sampler, FULL, setup)
