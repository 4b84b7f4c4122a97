"""The run itself, and the checkpoint that comes of it."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.averaging import Averaging
from training.commands import console, say
from training.config import TrainConfig
from training.dataset import Dataset
from training.distributed import joined_world
from training.errors import ConfigError
from training.export import export
from training.origin import Origin
from training.overrides import override
from training.plan import label_warnings, plan, written
from training.presets import PRESETS
from training.snapshot import list_snapshots
from training.trainer import read_run, train


def train_command(
    data: Annotated[Path, typer.Option(help="Dataset archive made by `prepare`.")],
    run: Annotated[Path, typer.Option(help="Folder of this run.")],
    preset: Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")] = "faces_64",
    resume: Annotated[bool, typer.Option(help="Go on with the run in that folder.")] = False,
    resume_if_any: Annotated[
        bool, typer.Option(help="Go on where that folder holds a snapshot, else begin.")
    ] = False,
    begin_from: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint whose weights a new run begins with.")
    ] = None,
    companions_of: Annotated[
        Path | None,
        typer.Option(help="Run whose discriminators beside the first a new run begins with."),
    ] = None,
    kimg: Annotated[
        float | None, typer.Option(help="Length of the run in thousand images.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Everything random follows from it.", min=0)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: all cores.", min=1)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, as loss.r1_gamma=1; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long; write nothing.")
    ] = False,
) -> None:
    """Train, or go on training. Ctrl-C or SIGTERM writes a snapshot and stops.

    Under torchrun all processes train one run together.
    """
    if threads:
        torch.set_num_threads(threads)
    if resume and begin_from:
        raise ConfigError("--resume goes on with a run, --from begins another: pass one of them")
    if companions_of and not begin_from:
        raise ConfigError(
            "--companions-of goes with --from, which names the generator: pass both, or neither"
        )
    resume = resume or (resume_if_any and bool(list_snapshots(run)))
    origin = Origin.load(begin_from, companions_of) if begin_from and not resume else None
    config = read_run(run) if resume else _preset(preset)
    settings = settings or []
    if origin:
        # Networks first, which it may not fit; what it changes may still be set otherwise.
        sizes = [setting for setting in settings if setting.strip().startswith("network.")]
        config = origin.begun(override(config, sizes))
    config = override(config, settings)
    if kimg is not None:
        schedule = dataclasses.replace(config.schedule, total_kimg=kimg)
        config = dataclasses.replace(config, schedule=schedule)
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    if precision is not None:
        config = dataclasses.replace(config, precision=precision)
    dataset, where = Dataset(data), _device(device)
    if dry_run:
        console.print_json(json.dumps(config.to_dict()))
        for line in written(plan(config, dataset, where), config):
            say(line)
        return
    with joined_world(where) as world:
        for sentence in label_warnings(dataset) if world.leads else []:
            say(f"warning: {sentence}")
        stop = train(config, dataset, run, device=where, resume=resume, world=world, origin=origin)
    code = 0 if stop.signal is None else 128 + stop.signal
    if world.size > 1:
        # Everything is written. Threads that the process group leaves behind may abort a process
        # that tidies up, and torchrun would start it again. (Seen with torch 2.13 and gloo.)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        raise typer.Exit(code)


def export_command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    data: Annotated[Path, typer.Option(help="The archive the run was trained on.")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the model card.")
    ] = "Not stated. It cannot be wider than that of the training pictures.",
    evaluation: Annotated[
        Path | None, typer.Option(help="JSON of `evaluate`, for the model card.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The best moment so far instead of the newest.")
    ] = False,
    critic: Annotated[
        bool, typer.Option("--critic", help="With the discriminator, for `train --from`.")
    ] = False,
    reached: Annotated[
        bool, typer.Option("--reached", help="At the resolution that it has grown to so far.")
    ] = False,
    average_with: Annotated[
        Path | None,
        typer.Option(help="Checkpoint of the run's line to average the generator with."),
    ] = None,
    average_share: Annotated[
        float | None, typer.Option(help="That checkpoint's share, between 0 and 1; default: 0.5.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp16 or fp32, of the stored weights.")] = "fp16",
) -> None:
    """Write the averaged generator as a checkpoint that the service loads."""
    if precision not in ("fp16", "fp32"):
        raise ConfigError(f"there is no stored precision {precision!r}: choose fp16 or fp32")
    if average_share is not None and not average_with:
        raise ConfigError("--average-share is given without --average-with: name the checkpoint")
    share = 0.5 if average_share is None else average_share
    saved = export(
        run,
        checkpoint,
        config=read_run(run),
        dataset=Dataset(data),
        licence=licence,
        evaluation=evaluation,
        best=best,
        critic=critic,
        reached=reached,
        averaging=Averaging.load(average_with, share) if average_with else None,
        dtype=torch.float16 if precision == "fp16" else torch.float32,
    )
    say(f"{checkpoint}: {saved.name}@{saved.digest[:12]}")


def _preset(name: str) -> TrainConfig:
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"there is no device {name!r}: choose cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device was found: use --device cpu")
    return torch.device(name)
