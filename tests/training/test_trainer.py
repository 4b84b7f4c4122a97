import dataclasses
import io
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from training_archives import write_archive
from training_runs import tensors

import training.snapshot
from training.config import (
    AugmentConfig,
    ConditioningConfig,
    LossConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.dataset import Batch, Dataset
from training.errors import ConfigError, SnapshotError, TrainingError
from training.export import averaged_generator
from training.gallery import render
from training.grids import grid
from training.losses import ADVERSARIAL_LOSSES
from training.run_folder import Best, best_before
from training.sampler import Sampler
from training.snapshot import list_snapshots, load_newest, snapshot_folder
from training.state import TrainingState
from training.trainer import read_run, train

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(
        total_kimg=0.4, hold_kimg=0.1, fade_kimg=0.1, batch_size=8, decay_kimg=0.1
    ),
    precision="fp32",
    snapshot_kimg=0.1,
    sample_kimg=0.2,
    log_kimg=0.05,
)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def go(config: TrainConfig, dataset: Dataset, run: Path, *, resume: bool = False) -> Console:
    console = quiet()
    train(config, dataset, run, device=CPU, resume=resume, console=console)
    return console


def shortened(kimg: float) -> TrainConfig:
    """The same run, cut off: the decay moves so that every step stays what it was."""
    schedule = dataclasses.replace(CONFIG.schedule, total_kimg=kimg, decay_kimg=0)
    return dataclasses.replace(CONFIG, schedule=schedule)


def test_a_run_writes_what_it_promises(tmp_path: Path, dataset: Dataset) -> None:
    run = tmp_path / "run"
    go(CONFIG, dataset, run)
    assert read_run(run) == CONFIG
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["images_seen"] for row in rows] == [56, 104, 152, 200, 256, 304, 352, 400]
    assert [row["resolution"] for row in rows] == [8, 8, 16, 16, 16, 16, 16, 16]
    assert {"loss_d", "loss_g", "score_real", "score_fake"} <= set(rows[0])
    assert any("r1" in row for row in rows)
    assert [p.name for p in sorted((run / "samples").iterdir())] == ["000000k.png"]
    with Image.open(run / "samples" / "000000k.png") as image:
        assert image.size == (8 * 16, 8 * 16)
    assert [int(p.name) for p in list_snapshots(run)] == [400, 304]
    assert any(p.name.startswith("events") for p in (run / "tensorboard").iterdir())


def test_its_grids_show_what_the_server_would_of_the_seeds(
    tmp_path: Path, dataset: Dataset
) -> None:
    run = tmp_path / "run"
    go(CONFIG, dataset, run)
    generator = averaged_generator(load_newest(run)[0], CONFIG, dataset.label_dim)
    served = render(generator, range(64), dataset.attributes(), dataset.joint_prior())
    with Image.open(run / "samples" / "000000k.png") as image:
        shown, expected = np.asarray(image, int), np.asarray(grid(served, 8), int)
    assert np.abs(shown - expected).max() <= 1  # of folded weights


RECIPES = {
    "default": {},
    "official": {
        "loss": LossConfig(kind="wgan_gp", r1_gamma=0),
        "conditioning": ConditioningConfig(kind="auxiliary"),
        "augment": AugmentConfig(mode="fixed", probability=0.5),
        "average_decay": 0.99,
    },
    "least squares": {
        "loss": LossConfig(kind="least_squares", r1_gamma=0),
        "conditioning": ConditioningConfig(kind="concatenation", ramp_kimg=0.2),
        "augment": AugmentConfig(mode="adaptive", interval=3, target=-0.9, adaptation_kimg=0.1),
        "holdout": 4,
    },
    "minimax": {
        "average_restart_kimg": 0.15,
        "loss": LossConfig(kind="minimax"),
        "conditioning": ConditioningConfig(draw="balanced"),
    },
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_and_goes_on_to_the_same_bits(
    tmp_path: Path, dataset: Dataset, recipe: str
) -> None:
    def cut(kimg: float) -> TrainConfig:
        return dataclasses.replace(shortened(kimg), **RECIPES[recipe])

    go(cut(0.24), dataset, tmp_path / "whole")
    go(cut(0.152), dataset, tmp_path / "cut")
    go(cut(0.24), dataset, tmp_path / "cut", resume=True)
    whole, cut = tensors(tmp_path / "whole"), tensors(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []


@pytest.mark.parametrize("every", [0.0, 0.1])
def test_the_generator_goes_on_from_its_average_where_that_is_wanted(
    tmp_path: Path, dataset: Dataset, every: float
) -> None:
    config = dataclasses.replace(shortened(0.2), average_restart_kimg=every)
    go(config, dataset, tmp_path / "run")
    ended = load_newest(tmp_path / "run")[0].tensors
    same = [torch.equal(w, ended["generator"][name]) for name, w in ended["average"].items()]
    assert all(same) == bool(every)


def test_a_snapshot_from_before_there_was_augmentation_or_a_window_is_resumed(
    tmp_path: Path, dataset: Dataset
) -> None:
    go(shortened(0.24), dataset, tmp_path / "whole")
    go(shortened(0.2), dataset, tmp_path / "old")
    for folder in list_snapshots(tmp_path / "old"):
        state = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps({**state, "extra": {}}))
    old = shortened(0.2).to_dict()
    for name in ("conditioning", "augment", "holdout", "metrics_kimg", "metrics_samples"):
        del old[name]
    (tmp_path / "old" / "config.json").write_text(json.dumps(old))
    config = read_run(tmp_path / "old")
    schedule = dataclasses.replace(config.schedule, total_kimg=0.24)
    config = dataclasses.replace(config, schedule=schedule)
    go(config, dataset, tmp_path / "old", resume=True)
    whole, resumed = tensors(tmp_path / "whole"), tensors(tmp_path / "old")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_learning_rate_that_blows_up_stops_the_run_and_says_where(
    tmp_path: Path, dataset: Dataset
) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    wild = shortened(0.4)
    schedule = dataclasses.replace(wild.schedule, learning_rate=1e30)
    wild = dataclasses.replace(wild, schedule=schedule)
    said = r"became NaN or infinite between images 200 and 256: the last .*lower schedule\.learn"
    with pytest.raises(TrainingError, match=said):
        go(wild, dataset, run, resume=True)
    assert load_newest(run)[0].images_seen == 200


def test_a_weight_that_is_not_finite_never_replaces_a_good_snapshot(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    whole = TrainingState.update_average

    def spoil(state: TrainingState, decay: float) -> None:
        whole(state, decay)
        with torch.no_grad():
            state.average.to_rgb[0].bias[0] = float("inf")

    monkeypatch.setattr(TrainingState, "update_average", spoil)
    with pytest.raises(TrainingError, match=r"average\.to_rgb\.0\.bias became NaN or infinite at"):
        go(shortened(0.24), dataset, run, resume=True)
    assert load_newest(run)[0].images_seen == 200


def test_networks_and_average_move(tmp_path: Path, dataset: Dataset) -> None:
    go(shortened(0.2), dataset, tmp_path / "a")
    go(dataclasses.replace(shortened(0.2), seed=1), dataset, tmp_path / "b")
    a, b = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    for name in ("generator/dense.weight", "average/dense.weight", "discriminator/score.weight"):
        assert not torch.equal(a[name], b[name])
    assert not torch.equal(a["generator/dense.weight"], a["average/dense.weight"])


MANY = [f"{tens}0-{tens}9" for tens in range(14)]


@pytest.mark.parametrize("kind", ["projection", "auxiliary", "concatenation"])
@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({"smile": ["no", "yes"]}, lambda i: [i % 2]),
        ({"age": MANY}, lambda i: [i % 14]),
        ({"glasses": ["no", "yes"]}, lambda i: [int(i == 7)]),
    ],
    ids=["two values", "fourteen", "uneven"],
)
def test_any_set_of_labels_trains_in_every_conditioning(
    tmp_path: Path, attributes: dict[str, list[str]], label: Callable[[int], list[int]], kind: str
) -> None:
    archive = write_archive(tmp_path / "x.zip", count=51, attributes=attributes, label=label)
    config = dataclasses.replace(
        shortened(0.112), conditioning=ConditioningConfig(kind=kind, draw="balanced")
    )
    go(config, Dataset(archive), tmp_path / "run")
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (name, values) = next(iter(attributes.items()))
    reported = [key for key in rows[-1] if key.startswith(f"diversity/{name}=")]
    # A label with fewer than eight pictures has no diversity worth a number.
    assert len(reported) == (0 if values is MANY else 2 if name == "smile" else 1)


def test_unlabelled_pictures_train_an_unconditional_pair(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "plain.zip", labelled=False))
    go(shortened(0.12), dataset, tmp_path / "run")
    assert "generator/embed.weight" not in tensors(tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_snapshot_and_stops(
    tmp_path: Path, dataset: Dataset, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    config = dataclasses.replace(shortened(1000), snapshot_kimg=1000.0)

    def send() -> None:
        while not (run / "metrics.jsonl").is_file():
            time.sleep(0.02)
        # To this thread: the other tests' libraries have threads that may not take a signal.
        signal.raise_signal(number)

    threading.Thread(target=send, daemon=True).start()
    stop = train(config, dataset, run, device=CPU, console=quiet())
    assert stop.signal == number
    seen = load_newest(run)[0].images_seen
    assert 0 < seen < 1_000_000


def test_log_lines_after_the_snapshot_are_dropped_on_resume(
    tmp_path: Path, dataset: Dataset
) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"images_seen": 264}) + '\n{"images_se')
    go(shortened(0.304), dataset, run, resume=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["images_seen"] for row in rows] == [56, 104, 152, 200, 256, 304]
    assert "loss_d" in rows[-2]


def test_a_snapshot_cut_short_is_passed_over_and_said(tmp_path: Path, dataset: Dataset) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    path = list_snapshots(run)[0] / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    console = go(shortened(0.208), dataset, run, resume=True)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "passed over" in said
    assert "generator.safetensors is damaged" in said
    assert "resumed at 0.1 kimg" in said


def test_a_full_disk_while_snapshotting_is_one_sentence(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.snapshot, "save_file", full)
    with pytest.raises(SnapshotError, match="No space left on device"):
        go(CONFIG, dataset, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_with_the_last_snapshot_good(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    broken = dataclasses.replace(
        ADVERSARIAL_LOSSES["non_saturating"], generator=lambda score: score.sum() * float("nan")
    )
    monkeypatch.setitem(ADVERSARIAL_LOSSES, "non_saturating", broken)
    said = r"loss_g became NaN or infinite between images 200 and 256: the last"
    with pytest.raises(TrainingError, match=said):
        go(shortened(0.4), dataset, run, resume=True)
    assert load_newest(run)[0].images_seen == 200


def test_a_run_folder_is_not_started_twice(tmp_path: Path, dataset: Dataset) -> None:
    go(shortened(0.104), dataset, tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a run: pass --resume"):
        go(CONFIG, dataset, tmp_path / "run")


def test_resuming_with_other_pictures_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    go(shortened(0.104), dataset, tmp_path / "run")
    other = Dataset(write_archive(tmp_path / "other.zip", count=20))
    with pytest.raises(SnapshotError, match="other pictures"):
        go(CONFIG, other, tmp_path / "run", resume=True)


def test_pictures_smaller_than_the_network_are_refused(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "small.zip", resolution=8))
    with pytest.raises(ConfigError, match="--resolution 16"):
        go(CONFIG, dataset, tmp_path / "run")


def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        read_run(tmp_path)


def test_a_best_moment_whose_snapshot_is_gone_is_forgotten(
    tmp_path: Path, dataset: Dataset
) -> None:
    run = tmp_path / "run"
    go(shortened(0.2), dataset, run)
    newest = snapshot_folder(run, load_newest(run)[0].images_seen)
    state = json.loads((newest / "state.json").read_text())
    best = {"images_seen": 96, "measure": "swd", "value": 1e-9}
    state["extra"]["best"] = best
    (newest / "state.json").write_text(json.dumps(state))
    assert best_before(run, load_newest(run)[0]) is None
    shutil.copytree(newest, snapshot_folder(run, 96))
    assert best_before(run, load_newest(run)[0]) == Best(**best)


@pytest.mark.parametrize(("pictures", "scored"), [(530, 52), (48, 4), (30, 0)])
def test_held_out_pictures_are_scored_in_groups_as_large_as_in_training(
    tmp_path: Path, pictures: int, scored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    held_out = Sampler.held_out

    def counting(self: Sampler, *args: int, **named: int) -> Batch:
        batch = held_out(self, *args, **named)
        seen.append(len(batch.image_BHWC))
        return batch

    monkeypatch.setattr(Sampler, "held_out", counting)
    few = Dataset(write_archive(tmp_path / "few.zip", count=pictures))
    schedule = dataclasses.replace(CONFIG.schedule, total_kimg=0.016, batch_size=16, decay_kimg=0)
    config = dataclasses.replace(CONFIG, schedule=schedule, holdout=500, log_kimg=0.016)
    go(config, few, tmp_path / "run")
    assert seen == [scored] * bool(scored)
    [row] = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ("r_v" in row) == bool(scored)
