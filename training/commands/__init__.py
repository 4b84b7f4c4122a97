"""The command line's commands, by what they are for, and how they speak."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.source_files import printable

console = Console()


def say(line: str) -> None:
    """A line as it is, however long: paths and sentences are not to be broken or coloured."""
    console.print(printable(line), highlight=False, soft_wrap=True, markup=False)


def progress_bar(title: str, *columns: str) -> Progress:
    """A bar with its count, further text columns and the time left; nothing where no one looks."""
    return Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        *map(TextColumn, columns),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
