"""Training runs in processes of their own, forked from one that has imported torch already."""

import io
import json
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import ports
import pytest
import torch
from rich.console import Console

from training.config import TrainConfig
from training.dataset import Dataset
from training.distributed import joined_world
from training.snapshot import load_newest
from training.trainer import train

CPU = torch.device("cpu")


def started(
    config: TrainConfig,
    archive: Path,
    run: Path,
    *,
    resume: bool = False,
    environment: dict[str, str] | None = None,
) -> BaseProcess:
    """A process that trains; its exit code is 0, or 128 + the signal it stopped for."""
    context = multiprocessing.get_context("forkserver")
    _start_forkserver(context)
    process = context.Process(
        target=_train, args=(config.to_dict(), archive, run, resume, environment or {})
    )
    process.start()
    return process


def _start_forkserver(context: ForkServerContext) -> None:
    """With this module in it; it would look for that where a fresh Python looks."""
    context.set_forkserver_preload(["training_runs"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


def _train(
    config: dict[str, object], archive: Path, run: Path, resume: bool, environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    with joined_world(CPU) as world:
        stop = train(
            TrainConfig.from_dict(config),
            Dataset(archive),
            run,
            device=CPU,
            resume=resume,
            console=Console(file=io.StringIO()),
            world=world,
        )
    os._exit(0 if stop.signal is None else 128 + stop.signal)


def torchrun_environments(count: int) -> list[dict[str, str]]:
    """What torchrun would tell each of `count` processes on this machine."""
    port = ports.free_port()
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for rank in range(count)
    ]


def rows(run: Path) -> list[dict[str, Any]]:
    """The whole lines of its log so far."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    parsed = []
    for line in path.read_text().splitlines():
        try:
            parsed.append(json.loads(line))
        except ValueError:
            break  # being written
    return parsed


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Everything in its newest whole snapshot."""
    groups = load_newest(run)[0].tensors
    return {f"{group}/{k}": v for group, named in groups.items() for k, v in named.items()}


def seen(run: Path) -> int:
    """How far the log has come."""
    return max((row["images_seen"] for row in rows(run)), default=0)


def go(config: TrainConfig, dataset: Dataset, run: Path, *, resume: bool = False) -> str:
    """Train in this process; what the run told people."""
    console = Console(file=io.StringIO(), width=500)
    train(config, dataset, run, device=CPU, resume=resume, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
