"""Where raw pictures and their labels come from: a folder or zip, in one of three layouts.

    utkface   names that read age_gender_ethnicity_timestamp: gender, age bucket, ethnicity
    folders   one folder per class: a single attribute, "class"
    labels    pictures beside a dataset.json (StyleGAN's convention) or a labels.csv

A source lists its files in sorted order, each with its labels or the reason it has none.
It knows nothing of pixels: whether a file is a picture at all is found out by `prepare`.
"""

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from training.errors import DatasetError

LAYOUTS = ("auto", "utkface", "folders", "labels")
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
MAX_FILE_BYTES = 256 * 2**20  # a larger "picture" is a mistake or an attack on memory
MAX_VALUES = 1000  # more distinct values than this is a column of names, not of categories

_UTKFACE_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d", re.ASCII)
_UTKFACE_LIKE = re.compile(r"\d{1,3}(_\d+){1,3}\.", re.ASCII)  # also where a field is missing


@dataclass(frozen=True)
class DeclaredAttribute:
    """A label dimension as the source declares it: a name and its ordered values."""

    name: str
    values: tuple[str, ...]


UTKFACE_ATTRIBUTES = (
    DeclaredAttribute("gender", ("male", "female")),
    DeclaredAttribute("age", ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60+")),
    DeclaredAttribute("ethnicity", ("White", "Black", "Asian", "Indian", "Others")),
)


@dataclass(frozen=True)
class Entry:
    """One file of a source: its value index per attribute, or why it cannot be used."""

    name: str
    labels: tuple[int, ...] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Source:
    """Everything known about a source before a single picture is decoded."""

    path: Path
    layout: str
    attributes: tuple[DeclaredAttribute, ...]
    entries: tuple[Entry, ...]  # sorted by name


class SourceFiles:
    """Reads the files of a folder or a zip by name. One per process; not thread-safe."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DatasetError(
                f"There is no {path}: give a folder or a zip of pictures that exists."
            )
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(
                f"{path} cannot be read as a zip ({error}): give a whole zip, or a folder of "
                "pictures."
            ) from error

    def __enter__(self) -> "SourceFiles":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def names(self) -> list[str]:
        """Relative paths of all files, "/"-separated, sorted; hidden ones are left out."""
        if self._zip is not None:
            names = {info.filename for info in self._zip.infolist() if not info.is_dir()}
        else:
            names = {
                (Path(folder) / file).relative_to(self.path).as_posix()
                for folder, _, files in os.walk(self.path)
                for file in files
            }
        return sorted(name for name in names if not _is_hidden(name))

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises ValueError, OSError or BadZipFile if there are none."""
        if self._zip is not None:
            if self._zip.getinfo(name).file_size > MAX_FILE_BYTES:
                raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MB")
            return self._zip.read(name)
        path = self.path / name
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MB")
        return path.read_bytes()


def open_source(path: Path, layout: str = "auto") -> Source:
    """Lists the pictures of a folder or zip with their labels.

    Raises DatasetError if there is no such source, no picture in it, or no way to label them.
    """
    if layout not in LAYOUTS:
        raise DatasetError(f"There is no layout {layout!r}: choose one of {', '.join(LAYOUTS)}.")
    with SourceFiles(path) as files:
        names = files.names()
        if not any(_is_picture(name) for name in names):
            raise DatasetError(
                f"{path} has no pictures in it: give a folder or a zip with JPEG or PNG files."
            )
        labels_file = _labels_file(names)
        if layout == "auto":
            layout = _detect_layout(path, names, labels_file)
        if layout == "utkface":
            return Source(path, layout, UTKFACE_ATTRIBUTES, _utkface_entries(names))
        if layout == "folders":
            return Source(path, layout, *_folder_entries(path, names))
        if labels_file is None:
            raise DatasetError(
                f"{path} has neither dataset.json nor labels.csv: add one, or change the layout."
            )
        return Source(path, layout, *_labelled_entries(files, names, labels_file))


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def _labels_file(names: Iterable[str]) -> str | None:
    """The labels file nearest to the root; dataset.json before labels.csv."""
    found = [n for n in names if PurePosixPath(n).name in ("dataset.json", "labels.csv")]
    return min(found, key=lambda n: (n.count("/"), n.endswith(".csv"), n), default=None)


def _detect_layout(path: Path, names: list[str], labels_file: str | None) -> str:
    if labels_file is not None:
        return "labels"
    pictures = [PurePosixPath(name) for name in names if _is_picture(name)]
    if 2 * sum(bool(_UTKFACE_LIKE.match(p.name)) for p in pictures) > len(pictures):
        return "utkface"
    if any(len(p.parts) > 1 for p in pictures):
        return "folders"
    raise DatasetError(
        f"The pictures in {path} have no labels: put them in one folder per class, or add a "
        "labels.csv with the column 'file' and one column per attribute."
    )


# utkface


def _utkface_entries(names: list[str]) -> tuple[Entry, ...]:
    return tuple(_utkface_entry(name) for name in names)


def _utkface_entry(name: str) -> Entry:
    match = _UTKFACE_NAME.match(PurePosixPath(name).name)
    if match is None:
        return Entry(name, reason="name does not read age_gender_ethnicity_timestamp")
    age, gender, ethnicity = (int(group) for group in match.groups())
    return Entry(name, (gender, min(age // 10, 6), ethnicity))


# folders


def _folder_entries(
    path: Path, names: list[str]
) -> tuple[tuple[DeclaredAttribute, ...], tuple[Entry, ...]]:
    depth = _wrapping_folders([n for n in names if _is_picture(n)])
    class_of = {
        name: parts[depth] for name in names if len(parts := PurePosixPath(name).parts) > depth + 1
    }
    values = _sorted_values("class", {class_of[n] for n in class_of if _is_picture(n)})
    if not values:
        raise DatasetError(f"{path} has no folders of pictures: put them in one folder per class.")
    index = {value: i for i, value in enumerate(values)}
    entries = tuple(
        Entry(name, (index[class_of[name]],))
        if class_of.get(name) in index
        else Entry(name, reason="not in the folder of a class")
        for name in names
    )
    return (DeclaredAttribute("class", values),), entries


def _wrapping_folders(names: list[str]) -> int:
    """How many leading folders all pictures share while still lying in folders below them."""
    parts = [PurePosixPath(name).parts for name in names]
    depth = 0
    while all(len(p) > depth + 2 for p in parts) and len({p[depth] for p in parts}) == 1:
        depth += 1
    return depth


# labels


def _labelled_entries(
    files: SourceFiles, names: list[str], labels_file: str
) -> tuple[tuple[DeclaredAttribute, ...], tuple[Entry, ...]]:
    where = f"{files.path}/{labels_file}"
    try:
        text = files.read(labels_file).decode("utf-8-sig")
        parse = _parse_json if labels_file.endswith(".json") else _parse_csv
        declared, rows = parse(where, text)
    except (ValueError, OSError, zipfile.BadZipFile, csv.Error) as error:
        raise DatasetError(f"{where} cannot be read ({error}): correct that file.") from error
    root = labels_file.rpartition("/")[0]
    labelled: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for file, values in rows:
        name = str(PurePosixPath(root) / file)
        if not all(values):
            reasons.setdefault(name, f"a label is empty in {labels_file}")
        elif labelled.setdefault(name, values) != values:
            reasons.setdefault(name, f"labelled twice, differently, in {labels_file}")
    usable = [v for n, v in labelled.items() if n not in reasons]
    attributes = tuple(
        a if a.values else DeclaredAttribute(a.name, _sorted_values(a.name, {v[i] for v in usable}))
        for i, a in enumerate(declared)
    )
    index = [{value: i for i, value in enumerate(a.values)} for a in attributes]

    def entry(name: str) -> Entry:
        if name in reasons:
            return Entry(name, reason=reasons[name])
        if name not in labelled:
            return Entry(name, reason=f"no label in {labels_file}")
        values = labelled[name]
        for attribute, known, value in zip(attributes, index, values, strict=True):
            if value not in known:
                reason = f"{value!r} is not a value of {attribute.name!r} in {labels_file}"
                return Entry(name, reason=reason)
        return Entry(name, tuple(known[v] for known, v in zip(index, values, strict=True)))

    entries = [entry(name) for name in names if name != labels_file]
    missing = (labelled.keys() | reasons.keys()) - set(names)
    entries += [Entry(n, reason=f"listed in {labels_file}, but not there") for n in missing]
    return attributes, tuple(sorted(entries, key=lambda e: e.name))


_Rows = list[tuple[str, tuple[str, ...]]]  # file, one value per attribute ("" if missing)


def _parse_csv(where: str, text: str) -> tuple[tuple[DeclaredAttribute, ...], _Rows]:
    table = csv.DictReader(io.StringIO(text))
    columns = list(table.fieldnames or ())
    if "file" not in columns or len(columns) < 2:
        raise DatasetError(
            f"{where} needs the column 'file' and one column per attribute; it has "
            f"{', '.join(columns) or 'none'}."
        )
    columns.remove("file")
    rows = [
        (row["file"] or "", tuple((row[column] or "").strip() for column in columns))
        for row in table
    ]
    return tuple(DeclaredAttribute(column, ()) for column in columns), rows


def _parse_json(where: str, text: str) -> tuple[tuple[DeclaredAttribute, ...], _Rows]:
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
    return declared, [
        (file, tuple(_json_value(where, v, a) for v, a in zip(values, declared, strict=True)))
        for file, values in raw
    ]


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


def _sorted_values(attribute: str, values: Iterable[str]) -> tuple[str, ...]:
    """Distinct values in order, "2" before "10"."""
    distinct = sorted(set(values), key=_numeric_aware)
    if len(distinct) > MAX_VALUES:
        raise DatasetError(
            f"{attribute!r} has {len(distinct)} distinct values, and at most {MAX_VALUES} can be "
            "learned: group them into fewer."
        )
    return tuple(distinct)


def _numeric_aware(text: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), part) if part.isdigit() else (1, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]
