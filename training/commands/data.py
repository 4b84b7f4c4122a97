"""What goes in: photographs, and other projects' weights."""

from pathlib import Path
from typing import Annotated

import typer

from training.commands import progress_bar, say
from training.curation import Curation
from training.prepare import prepare


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
    max_cast: Annotated[
        float, typer.Option(help="Leave out faces of violet, green or orange light: 2.5 does.")
    ] = 0.0,
) -> None:
    """Crop, resample and label photographs, and drop duplicates, into one archive."""
    with progress_bar("preparing") as bar:
        task = bar.add_task("", total=None)
        report = prepare(
            source,
            archive,
            resolution=resolution,
            name=name,
            layout=layout,
            workers=workers,
            curation=Curation(min_chroma, min_sharpness, max_cast),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    say(report.summary())


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
        say(f"note: {note}")
    say(f"{checkpoint}: {saved.name}@{saved.digest[:12]}")
