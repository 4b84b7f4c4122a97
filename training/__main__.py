"""python -m training: prepare, train, evaluate, export. An error is one sentence, exit code 2."""

import sys

import typer
from rich.console import Console

from models import CheckpointError
from training.commands.data import import_command, prepare_command
from training.commands.look import (
    evaluate_command,
    inspect_command,
    pictures_command,
    project_command,
)
from training.commands.run import export_command, train_command
from training.errors import TrainingError
from training.source_files import printable

app = typer.Typer(
    name="training",
    help="From photographs to a checkpoint: prepare, train, evaluate, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("prepare")(prepare_command)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("export")(export_command)
app.command("pictures")(pictures_command)
app.command("inspect")(inspect_command)
app.command("project")(project_command)
app.command("import")(import_command)


def main() -> None:
    """Run the command line; a known error becomes one sentence on stderr and exit code 2."""
    try:
        app()
    except (TrainingError, CheckpointError, OSError) as error:
        sentence = printable(f"error: {error}")
        Console(stderr=True).print(sentence, highlight=False, soft_wrap=True, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
