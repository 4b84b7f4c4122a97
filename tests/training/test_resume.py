"""Interrupted anywhere and resumed, a run ends with the same bits as one that never stopped."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import torch
from training_archives import write_archive
from training_runs import rows, seen, started, tensors

from training.config import (
    AugmentConfig,
    ConditioningConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.snapshot import load_newest

EVERYTHING = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(
        total_kimg=0.4, hold_kimg=0.1, fade_kimg=0.1, batch_size=8, reset_adam=True
    ),
    conditioning=ConditioningConfig(ramp_kimg=0.2, draw="balanced"),
    augment=AugmentConfig(mode="adaptive", target=-0.9, adaptation_kimg=0.5, interval=3),
    holdout=4,
    precision="fp32",
    snapshot_kimg=0.06,
    sample_kimg=0.2,
    metrics_kimg=0.15,
    metrics_samples=16,
    log_kimg=0.04,
)
SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


def finish(config: TrainConfig, archive: Path, run: Path, *, resume: bool) -> None:
    process = started(config, archive, run, resume=resume)
    process.join(120)
    assert process.exitcode == 0


def interrupt(
    config: TrainConfig, archive: Path, run: Path, *, resume: bool, after: int, number: int
) -> bool:
    """Send the signal somewhere after `after` images were logged; False: the run was faster."""
    goal = max(after, seen(run) + 1)  # further than it ever was: so it is in the middle of training
    process = started(config, archive, run, resume=resume)
    while process.is_alive() and seen(run) < goal:
        time.sleep(0.002)
    time.sleep(random.random() * 0.02)  # anywhere between two lines, snapshots included
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid or 0, number)
    process.join(120)
    expected = -number if number == signal.SIGKILL else 128 + number
    assert process.exitcode in (expected, 0)
    return process.exitcode == expected


def test_interrupted_at_five_random_points(tmp_path: Path) -> None:
    archive, run = write_archive(tmp_path / "noise.zip"), tmp_path / "cut"
    finish(EVERYTHING, archive, tmp_path / "whole", resume=False)
    hits = 0
    for number, at in zip(SIGNALS, (70, 130, 190, 250, 310), strict=True):
        resume = any((run / "snapshots").glob("0*"))
        hits += interrupt(EVERYTHING, archive, run, resume=resume, after=at, number=number)
    assert hits >= 3
    finish(EVERYTHING, archive, run, resume=True)

    whole, cut = tensors(tmp_path / "whole"), tensors(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    kept = [load_newest(tmp_path / run)[0] for run in ("whole", "cut")]
    assert kept[0].extra == kept[1].extra
    logs = [rows(tmp_path / run) for run in ("whole", "cut")]
    for log in logs:
        for row in log:
            del row["images_per_second"]
    assert logs[0] == logs[1]
