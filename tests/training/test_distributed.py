"""Two processes that share every batch train as one does."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training_archives import write_archive
from training_runs import started, torchrun_environments

from models.layers import minibatch_stddev
from training.config import (
    AugmentConfig,
    ConditioningConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.distributed import World
from training.errors import ConfigError

CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(8, latent_dim=8, label_embed_dim=0, fmap_base=32, fmap_max=8),
    schedule=ScheduleConfig(
        total_kimg=0.128,
        hold_kimg=0.03,
        fade_kimg=0.05,
        distil_steps=3,
        start_resolution=4,
        batch_size=8,
    ),
    conditioning=ConditioningConfig(kind="auxiliary", ramp_kimg=0.05),
    augment=AugmentConfig(mode="adaptive", target=-0.99, adaptation_kimg=0.1, interval=2),
    precision="fp32",
    holdout=4,
    metrics_samples=16,
    log_kimg=0.016,
)


@pytest.mark.parametrize(("batch", "size"), [(8, 2), (32, 4), (16, 1)])
def test_shares_are_whole_deviation_groups_and_cover_the_batch(batch: int, size: int) -> None:
    shares = [World(rank, size).rows(batch) for rank in range(size)]
    assert sorted(np.concatenate(shares)) == list(range(batch))
    x = torch.randn(batch, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = minibatch_stddev(x)
    for rows in shares:
        torch.testing.assert_close(minibatch_stddev(x[rows]), whole[rows])


def test_alone_a_batch_keeps_its_order() -> None:
    assert list(World().rows(6)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("batch", [4, 12])
def test_a_batch_that_cannot_be_shared_is_refused(batch: int) -> None:
    schedule = dataclasses.replace(CONFIG.schedule, batch_size_by_resolution={8: batch})
    with pytest.raises(ConfigError, match=f"a batch of {batch} pictures.*multiples of 8"):
        World(0, 2).check(dataclasses.replace(CONFIG, schedule=schedule))
    World(0, 2).check(CONFIG)


def test_two_processes_have_the_losses_of_one_and_write_one_folder(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "noise.zip")
    processes = [started(CONFIG, archive, tmp_path / "one")]
    processes += [
        started(CONFIG, archive, tmp_path / "two", environment=environment)
        for environment in torchrun_environments(2)
    ]
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0, 0]

    logs = []
    for run in ("one", "two"):
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        logs.append([json.loads(line) for line in lines])
    assert [row["images_seen"] for row in logs[0]] == list(range(16, 129, 16))
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - {"images_per_second", "troubles"}:
            # What is measured beside the losses sums tiny differences up over the whole run.
            loose = 2e-3 if name in ("r_v", "score_held_out") else 1e-4
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=loose), name
