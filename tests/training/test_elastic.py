"""Real torchrun: all start again when one process is killed, and go on to the same bits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from training_archives import write_archive
from training_runs import rows, seen, started, tensors, torchrun_environments

from training.distributed import World, joined_world
from training.errors import ConfigError, WorldError
from training.overrides import override
from training.presets import PRESETS
from training.snapshot import list_snapshots

SETTINGS = [
    "network.resolution=8",
    "network.fmap_base=32",
    "network.fmap_max=8",
    "schedule.total_kimg=0.48",
    "schedule.start_resolution=4",
    "schedule.hold_kimg=0.2",
    "schedule.fade_kimg=0.2",
    "schedule.batch_size=8",
    "snapshot_kimg=0.08",
    "sample_kimg=0.4",
    "metrics_kimg=0.4",
    "metrics_samples=16",
    "log_kimg=0.016",
    "precision=fp32",
]


@contextmanager
def torchrun(archive: Path, run: Path, *, max_restarts: int) -> Iterator[subprocess.Popen[str]]:
    """Two processes on this machine, as docs/training.md starts them."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "--max-restarts", str(max_restarts)),
            *("--monitor-interval", "0.1", "-m", "--", "training", "train"),
            *("--data", str(archive), "--run", str(run), "--resume-if-any"),
            *("--preset", "smoke_16", "--device", "cpu", "--threads", "1", *settings),
        ],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in workers(process.pid).values():
                os.kill(pid, signal.SIGKILL)
            process.kill()
        process.communicate()


def workers(launcher: int) -> dict[int, int]:
    """The processes that torchrun started and that run now, by rank."""
    found = {}
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [int(line[5:]) for line in environment if line.startswith(b"RANK=")]
        found |= dict.fromkeys(ranks, int(pid))
    return found


def kill_after_a_snapshot(process: subprocess.Popen[str], run: Path, rank: int) -> None:
    """SIGKILL that one of them, some lines of the log after a new snapshot."""
    before, snapshots = seen(run), len(list_snapshots(run))
    give_up = time.monotonic() + 60
    while not (seen(run) > before + 40 and (snapshots or list_snapshots(run))):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < give_up, f"rank {rank} never came that far"
        time.sleep(0.002)
    os.kill(workers(process.pid)[rank], signal.SIGKILL)


def test_two_processes_that_lose_one_end_as_if_they_had_not(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "noise.zip")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with torchrun(archive, cut, max_restarts=1) as process:
        config = override(PRESETS["smoke_16"](), SETTINGS)
        undisturbed = [
            started(config, archive, whole, environment=environment)
            for environment in torchrun_environments(2)
        ]
        kill_after_a_snapshot(process, cut, rank=1)
        said, _ = process.communicate(timeout=120)
    for one in undisturbed:
        one.join(120)
    assert [one.exitcode for one in undisturbed] == [0, 0]
    assert process.returncode == 0, said

    assert "another process of this run is gone" in said
    assert "resumed at" in said
    kept = tensors(whole), tensors(cut)
    assert kept[0].keys() == kept[1].keys()
    assert [name for name in kept[0] if not torch.equal(kept[0][name], kept[1][name])] == []
    logs = [rows(whole), rows(cut)]
    for log in logs:
        assert log[-1]["images_seen"] == 480
        for row in log:
            del row["images_per_second"]
    assert logs[0] == logs[1]


def test_processes_that_see_other_snapshots_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {64: 80, -64: -80}  # what a second process says
    monkeypatch.setattr(World, "largest", lambda self, mine, device: max(mine, other[mine]))
    with pytest.raises(WorldError, match=r"some .* would begin at 64 images and others at 80"):
        World(0, 2).agree(64, torch.device("cpu"))


def test_restarts_that_would_wait_for_the_dead_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_MAX_RESTARTS": "3"}
    for name, value in (told | {"TORCHELASTIC_USE_AGENT_STORE": "True"}).items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"),
        joined_world(torch.device("cpu")),
    ):
        pass
