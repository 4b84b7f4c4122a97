"""dataset.json of a prepared archive → what it says, checked before anything believes it.

Knows nothing about pixels. An archive may come from strangers: its digest names a folder that is
replaced, its resolution and labels decide how much memory is taken.
"""

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import DatasetError
from training.zip_members import read_member

FILE = "dataset.json"
VERSION = 1
RESOLUTIONS = tuple(2**k for k in range(2, 11))
MAX_NAME = 256

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Description:
    """What an archive holds. N pictures, A attributes."""

    name: str
    digest: str
    """sha256, hex."""
    resolution: int
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    """Names and values."""
    files: tuple[str, ...]
    """Names of the pictures in the zip."""
    index_NA: NDArray[np.int64]
    """Each picture's value of each attribute."""


def read_description(archive: Path) -> Description:
    """Raises DatasetError where the archive is missing, damaged, of another version, or says
    what cannot be."""
    if not archive.is_file():
        raise DatasetError(
            f"{archive} does not exist: make it with "
            f"`python -m training prepare PICTURES {archive}`"
        )
    try:
        with zipfile.ZipFile(archive) as file:
            data = json.loads(read_member(file, FILE))
        if data["format_version"] != VERSION:
            raise DatasetError(
                f"{archive} has format_version {data['format_version']!r:.40}, this code reads "
                f"{VERSION}: prepare it again"
            )
        description = _checked(data)
    except DatasetError:
        raise
    except Exception as error:  # a damaged zip raises almost anything
        why = str(error) or type(error).__name__
        raise DatasetError(
            f"{archive} is not a dataset archive ({why:.200}): "
            "make one with `python -m training prepare`"
        ) from error
    if not description.files:
        raise DatasetError(f"{archive} holds no pictures: prepare it again from a fuller source")
    return description


def _checked(data: Any) -> Description:
    """KeyError, TypeError or ValueError where something is missing or cannot be."""
    if not _DIGEST.fullmatch(data["digest"]):
        raise ValueError("its digest is no sha256")
    resolution = data["resolution"]
    if type(resolution) is not int or resolution not in RESOLUTIONS:
        raise ValueError(f"its resolution is no power of two from 4 to {RESOLUTIONS[-1]}")
    attributes = tuple(
        (_text(a["name"]), tuple(_text(value) for value in a["values"])) for a in data["attributes"]
    )
    if not all(values and len(set(values)) == len(values) for _, values in attributes):
        raise ValueError("an attribute needs distinct values")
    files = tuple(_text(file) for file, _ in data["labels"])
    rows = [row for _, row in data["labels"]]
    if not all(len(row) == len(attributes) for row in rows):
        raise ValueError("each picture needs a label of each attribute")
    if not all(type(index) is int for row in rows for index in row):
        raise ValueError("a label is no index")
    index_NA = np.array(rows, dtype=np.int64).reshape(len(files), len(attributes))
    sizes = np.array([len(values) for _, values in attributes], dtype=np.int64)
    if ((index_NA < 0) | (index_NA >= sizes)).any():
        raise ValueError("a label is none of its attribute's values")
    return Description(_text(data["name"]), data["digest"], resolution, attributes, files, index_NA)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise ValueError(f"a name is no text of up to {MAX_NAME} characters")
    value.encode()  # half of a surrogate pair is nothing that could be written
    return value
