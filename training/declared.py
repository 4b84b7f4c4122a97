"""Which attributes a source may declare: what no archive could hold, and no server offer.

Refused before a picture is decoded, not after days of training. Knows nothing of files.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.description import MAX_NAME
from training.errors import DatasetError

RESERVED = ("seed", "size", "format", "model", "best_of", "direct", "from", "to", "frames")
"""Parameters of the server, which labels are too: as in `service/params.py`; a test compares."""


@dataclass(frozen=True)
class DeclaredAttribute:
    """A label dimension as a source declares it: a name and its ordered values."""

    name: str
    values: tuple[str, ...]


def check_declared(source: Path, attributes: Sequence[DeclaredAttribute]) -> None:
    """Raises DatasetError, naming the attribute and what to rename."""
    for attribute in attributes:
        _check_text(source, "the name of an attribute", attribute.name)
        what = f"a value of {attribute.name!r}"
        for value in attribute.values:
            _check_text(source, what, value)
        _check_distinct(source, f"values of {attribute.name!r}", attribute.values)
    names = [attribute.name for attribute in attributes]
    _check_distinct(source, "attributes", names)
    folded = {name.casefold() for name in names}
    reserved = {*RESERVED, *(f"{end}_{name}" for end in ("from", "to") for name in folded)}
    for name in names:
        if name.casefold() in reserved:
            raise DatasetError(
                f"{source} has an attribute {name!r}, and so is a parameter of the server called: "
                "give it another name."
            )


def _check_text(source: Path, what: str, text: object) -> None:
    """A text that is there, not too long, and can be written down."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME:
        raise DatasetError(
            f"{source}: {what} is {str(text)[:40]!r}, and has to be a text of 1 to {MAX_NAME} "
            "characters: rename it."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"{source}: {what}, {text!r}, is no Unicode text: rename it.") from error


def _check_distinct(source: Path, what: str, texts: Iterable[str]) -> None:
    """The server takes names and values in any case."""
    folded = Counter(text.casefold() for text in texts)
    same = [text for text in texts if folded[text.casefold()] > 1]
    if same:
        raise DatasetError(
            f"{source} has {what} that are the same but for case ({', '.join(same)}): rename or "
            "merge them."
        )
