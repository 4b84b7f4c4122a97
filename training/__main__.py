"""python -m training: prepare, train, evaluate, export. An error is one sentence, exit code 2."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models import CheckpointError
from training.config import TrainConfig
from training.curation import Curation
from training.dataset import Dataset
from training.distributed import joined_world
from training.errors import ConfigError, TrainingError
from training.export import export
from training.origin import Origin
from training.overrides import override
from training.plan import label_warnings, plan, written
from training.prepare import prepare
from training.presets import PRESETS
from training.snapshot import list_snapshots
from training.trainer import read_run, train

console = Console()
app = typer.Typer(
    name="training",
    help="From photographs to a checkpoint: prepare, train, evaluate, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("prepare")
def prepare_command(
    source: Annotated[Path, typer.Argument(help="Folder or zip of labelled pictures.")],
    archive: Annotated[Path, typer.Argument(help="The dataset archive to make (.zip).")],
    resolution: Annotated[int, typer.Option(help="Side in pixels, a power of two.")] = 64,
    name: Annotated[str | None, typer.Option(help="The data set's name.")] = None,
    layout: Annotated[str, typer.Option(help="auto, utkface, folders or labels.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes; default: all cores.")] = None,
    min_chroma: Annotated[
        float, typer.Option(help="Leave out greyscale and tinted pictures: 2.5 does; 0: none.")
    ] = 0.0,
    min_sharpness: Annotated[
        float, typer.Option(help="Leave out blurred pictures: 4 does at 128 px; 0: none.")
    ] = 0.0,
) -> None:
    """Crop, resample and label photographs, and drop duplicates, into one archive."""
    with Progress(
        TextColumn("preparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        report = prepare(
            source,
            archive,
            resolution=resolution,
            name=name,
            layout=layout,
            workers=workers,
            curation=Curation(min_chroma, min_sharpness),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(report.summary(), highlight=False, markup=False)


@app.command("train")
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
    kimg: Annotated[
        float | None, typer.Option(help="Length of the run in thousand images.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
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
    resume = resume or (resume_if_any and bool(list_snapshots(run)))
    origin = Origin.load(begin_from) if begin_from and not resume else None
    config = read_run(run) if resume else _preset(preset)
    config = override(origin.begun(config) if origin else config, settings or [])
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
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    with joined_world(where) as world:
        for sentence in label_warnings(dataset) if world.leads else []:
            console.print(f"warning: {sentence}", highlight=False, markup=False)
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


@app.command("evaluate")
def evaluate_command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Annotated[Path, typer.Option(help="Dataset archive to compare with.")],
    report: Annotated[Path, typer.Option(help="Where the JSON goes.")],
    samples: Annotated[int, typer.Option(help="Pictures generated, and as many real ones.")] = 500,
    seed: Annotated[int, typer.Option(help="Which real pictures, which labels.")] = 0,
    inception: Annotated[
        Path | None, typer.Option(help="Weights of FID's Inception v3: .pth or .safetensors.")
    ] = None,
) -> None:
    """Measure a checkpoint's pictures, each figure beside that of real ones."""
    # Only this command needs the judges and their libraries.
    from training.metrics.evaluate import evaluate_checkpoint, summary

    with Progress(
        TextColumn("looking at pictures"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        result = evaluate_checkpoint(
            checkpoint,
            data,
            samples=samples,
            seed=seed,
            inception=inception,
            report=report,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(summary(result), highlight=False, soft_wrap=True, markup=False)


@app.command("export")
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
    precision: Annotated[str, typer.Option(help="fp16 or fp32, of the stored weights.")] = "fp16",
) -> None:
    """Write the averaged generator as a checkpoint that the service loads."""
    if precision not in ("fp16", "fp32"):
        raise ConfigError(f"there is no stored precision {precision!r}: choose fp16 or fp32")
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
        dtype=torch.float16 if precision == "fp16" else torch.float32,
    )
    console.print(f"{checkpoint}: {saved.name}@{saved.digest[:12]}", highlight=False)


@app.command("pictures")
def pictures_command(
    run: Annotated[Path, typer.Argument(help="Run folder, finished or still going on.")],
    data: Annotated[
        Path | None, typer.Option(help="Its archive: for label sheets and a latent walk.")
    ] = None,
) -> None:
    """Write a run's timelapse, plots, label sheets and latent walk into RUN/pictures."""
    # These need nothing that training needs, and take a second to load.
    from training.run_pictures import run_pictures

    files, missing = run_pictures(run, read_run(run), Dataset(data) if data else None)
    for line in [*map(str, files), *missing]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command("inspect")
def inspect_command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the sheets.")],
    data: Annotated[Path, typer.Option(help="The archive it was trained on.")],
    samples: Annotated[int, typer.Option(help="Pictures that are looked through.")] = 2000,
    seed: Annotated[int, typer.Option(help="Which pictures are in the quiz.")] = 0,
) -> None:
    """Write sheets to judge a checkpoint by: the least liked, the nearest to training, a quiz."""
    from training.inspection import inspect

    files, left_out = inspect(checkpoint, data, out, samples=samples, seed=seed)
    for line in [*map(str, files), *left_out]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command("project")
def project_command(
    photo: Annotated[Path, typer.Argument(help="A picture of one face, cropped to it.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the pictures and latent.json.")],
    label: Annotated[
        list[str] | None, typer.Option(help="A known label, as age=30-39; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    steps: Annotated[int, typer.Option(help="Steps of optimisation.", min=20)] = 400,
    unchecked: Annotated[bool, typer.Option(help="Take any picture, face or not.")] = False,
) -> None:
    """Find the latent and labels whose generated picture is most like a given one."""
    from training.project import project_photograph

    with Progress(
        TextColumn("projecting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("distance {task.fields[distance]:.3f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=steps, distance=0.0)
        lines = project_photograph(
            photo,
            checkpoint,
            out,
            labels=label or [],
            seed=seed,
            steps=steps,
            check_face=not unchecked,
            report=lambda done, _, distance: bar.update(task, completed=done, distance=distance),
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="Weights of another project's progressive GAN.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the model card.")
    ] = "Not stated. Ask whoever made the weights.",
    pixel_norms: Annotated[
        str | None,
        typer.Option(help="Where that version has pixel norms, as latent,base,blocks."),
    ] = None,
) -> None:
    """Turn weights of pytorch_GAN_zoo, pro_gan_pytorch or the official code into a checkpoint."""
    from training.importers import import_checkpoint

    norms = None if pixel_norms is None else tuple(filter(None, pixel_norms.split(",")))
    saved, notes = import_checkpoint(file, checkpoint, licence=licence, pixel_norms=norms)
    for note in notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{checkpoint}: {saved.name}@{saved.digest[:12]}", highlight=False)


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


def main() -> None:
    """Run the command line; a known error becomes one sentence on stderr and exit code 2."""
    try:
        app()
    except (TrainingError, CheckpointError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, soft_wrap=True, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
