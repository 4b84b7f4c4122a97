"""Reads dataset.json (StyleGAN's convention) and labels.csv: files with a value per attribute.

It knows nothing of pictures, nor whether the files named exist.
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from training.declared import DeclaredAttribute
from training.errors import DatasetError

MAX_VALUES = 1000  # more distinct values than this is a column of names, not of categories
MAX_UNSHARED = 20  # nor may more than this be had by fewer than two pictures each, on average


@dataclass(frozen=True)
class LabelFile:
    """Attributes, whose values may be left open (empty), and rows in the file's order."""

    attributes: tuple[DeclaredAttribute, ...]
    rows: list[tuple[str, tuple[str, ...]]]  # file, a value per attribute ("" where missing)


def parse_label_file(where: str, data: bytes) -> LabelFile:
    """Parses the bytes of a labels file; `where` is its path, which also tells the format.

    Raises DatasetError naming the file and what to correct in it.
    """
    parse = _parse_json if where.endswith(".json") else _parse_csv
    try:
        return parse(where, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{where} is not UTF-8 text (at byte {error.start}): save it as UTF-8."
        ) from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise DatasetError(f"{where} cannot be read ({error}): correct that file.") from error


def sorted_values(attribute: str, values: Iterable[str]) -> tuple[str, ...]:
    """The distinct ones of all pictures' values in order, "2" before "10".

    Raises DatasetError if there are too many, or nearly as many as pictures.
    """
    values = list(values)
    distinct = sorted(set(values), key=_numeric_aware)
    if len(distinct) > MAX_VALUES:
        raise DatasetError(
            f"{attribute!r} has {len(distinct)} distinct values, and at most {MAX_VALUES} can be "
            "learned: group them into fewer."
        )
    if len(distinct) > MAX_UNSHARED and 2 * len(distinct) > len(values):
        raise DatasetError(
            f"{attribute!r} has {len(distinct)} distinct values in {len(values)} pictures, as "
            "names or notes have: leave it out, or group its values."
        )
    return tuple(distinct)


def _numeric_aware(text: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]


def _parse_csv(where: str, text: str) -> LabelFile:
    table = csv.DictReader(io.StringIO(text))
    header = [column.strip() for column in table.fieldnames or ()]
    columns = [column for column in header if column]
    if "file" not in columns or len(columns) < 2:
        raise DatasetError(
            f"{where} needs the column 'file' and one column per attribute; it has "
            f"{', '.join(columns) or 'none'}."
        )
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise DatasetError(f"{where} has the column {twice!r} twice: leave one of them out.")
    columns.remove("file")
    table.fieldnames = header
    rows = []
    for row in table:
        # Spreadsheets leave empty cells at the end, and blank lines; anything else is a mistake.
        nameless = [*(row.get(None) or ()), row.get("") or ""]
        if any(cell.strip() for cell in nameless):
            raise DatasetError(
                f"{where}, line {table.line_num}, has a cell in no named column: name its column, "
                "or put the text with the comma into quotes."
            )
        if file := (row["file"] or "").strip():
            rows.append((file, tuple((row[column] or "").strip() for column in columns)))
        elif any(row[column] for column in columns):
            raise DatasetError(f"{where}, line {table.line_num}, names no file: correct that line.")
    return LabelFile(tuple(DeclaredAttribute(column, ()) for column in columns), rows)


def _parse_json(where: str, text: str) -> LabelFile:
    document = json.loads(text)
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, list) or not labels:
        raise DatasetError(
            f'{where} has no labels: it must read {{"labels": [["file.png", 3], …]}}.'
        )
    try:
        raw = [(str(file), v if isinstance(v, list) else [v]) for file, v in labels]
        declared = tuple(
            DeclaredAttribute(a["name"], tuple(str(v) for v in a["values"]))
            for a in document.get("attributes", ())
        )
    except (TypeError, ValueError, KeyError) as error:
        raise DatasetError(
            f'{where} is not understood: "labels" holds pairs of file and label, "attributes" '
            "objects with name and values."
        ) from error
    width = len(declared) or len(raw[0][1])
    if any(len(values) != width for _, values in raw):
        raise DatasetError(f"{where} must give every file the same number of labels, {width}.")
    if not declared:
        names = ("class",) if width == 1 else tuple(f"label{i}" for i in range(width))
        declared = tuple(DeclaredAttribute(name, ()) for name in names)
    rows = [
        (file, tuple(_json_value(where, v, a) for v, a in zip(values, declared, strict=True)))
        for file, values in raw
    ]
    return LabelFile(declared, rows)


def _json_value(where: str, value: Any, attribute: DeclaredAttribute) -> str:
    """A label as text; an integer is an index where the attribute's values are declared."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise DatasetError(f"{where} has the label {value!r}: labels are integers or strings.")
    if not attribute.values:
        return str(value)
    return attribute.values[value] if 0 <= value < len(attribute.values) else str(value)
