"""What a checkpoint or a run is worth, in figures and in pictures.

Each command loads what only it needs when it is called.
"""

from pathlib import Path
from typing import Annotated

import typer

from training.commands import progress_bar, say
from training.dataset import Dataset
from training.run_folder import read_run


def evaluate_command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Annotated[Path, typer.Option(help="Dataset archive to compare with.")],
    report: Annotated[Path, typer.Option(help="Where the JSON goes.")],
    samples: Annotated[int, typer.Option(help="Pictures generated, and as many real ones.")] = 500,
    seed: Annotated[int, typer.Option(help="Which real pictures, which labels.", min=0)] = 0,
    inception: Annotated[
        Path | None, typer.Option(help="Weights of FID's Inception v3: .pth or .safetensors.")
    ] = None,
) -> None:
    """Measure a checkpoint's pictures, each figure beside that of real ones."""
    from training.metrics.evaluate import evaluate_checkpoint, summary

    with progress_bar("looking at pictures") as bar:
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
    say(summary(result))


def pictures_command(
    run: Annotated[Path, typer.Argument(help="Run folder, finished or still going on.")],
    data: Annotated[
        Path | None, typer.Option(help="Its archive: for label sheets and a latent walk.")
    ] = None,
) -> None:
    """Write a run's timelapse, plots, label sheets and latent walk into RUN/pictures."""
    from training.run_pictures import run_pictures

    files, missing = run_pictures(run, read_run(run), Dataset(data) if data else None)
    for line in [*map(str, files), *missing]:
        say(line)


def inspect_command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the sheets.")],
    data: Annotated[Path, typer.Option(help="The archive it was trained on.")],
    samples: Annotated[int, typer.Option(help="Pictures that are looked through.")] = 2000,
    seed: Annotated[int, typer.Option(help="Which pictures are in the quiz.", min=0)] = 0,
) -> None:
    """Write sheets to judge a checkpoint by: the least liked, the nearest to training, a quiz."""
    from training.inspection import inspect

    files, left_out = inspect(checkpoint, data, out, samples=samples, seed=seed)
    for line in [*map(str, files), *left_out]:
        say(line)


def project_command(
    photo: Annotated[Path, typer.Argument(help="A picture of one face, cropped to it.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the pictures and latent.json.")],
    label: Annotated[
        list[str] | None, typer.Option(help="A known label, as age=30-39; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.", min=0)] = 0,
    steps: Annotated[int, typer.Option(help="Steps of optimisation.", min=20)] = 400,
    unchecked: Annotated[bool, typer.Option(help="Take any picture, face or not.")] = False,
) -> None:
    """Find the latent and labels whose generated picture is most like a given one."""
    from training.project import project_photograph

    with progress_bar("projecting", "distance {task.fields[distance]:.3f}") as bar:
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
        say(line)
