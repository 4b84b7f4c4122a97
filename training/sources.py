"""Where raw pictures and their labels come from: a folder or zip, in one of three layouts.

    utkface   names that read age_gender_ethnicity_timestamp: gender, age bucket, ethnicity
    folders   one folder per class: a single attribute, "class"
    labels    pictures beside a dataset.json (StyleGAN's convention) or a labels.csv

A source lists its files in sorted order, each with its labels or the reason it has none.
It knows nothing of pixels: whether a file is a picture at all is found out by `prepare`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from training.declared import DeclaredAttribute, check_declared
from training.errors import DatasetError
from training.label_files import LabelFile, parse_label_file, sorted_values
from training.source_files import SourceFiles, leads_out

LAYOUTS = ("auto", "utkface", "folders", "labels")
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)

_UTKFACE_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d", re.ASCII)
_UTKFACE_LIKE = re.compile(r"\d{1,3}(_\d+){1,3}\.", re.ASCII)  # also where a field is missing


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


def open_source(path: Path, layout: str = "auto") -> Source:
    """Lists the pictures of a folder or zip with their labels.

    Raises DatasetError if there is no such source, no picture in it, no way to label them, or
    labels that no archive could hold or no server offer.
    """
    if layout not in LAYOUTS:
        raise DatasetError(f"There is no layout {layout!r}: choose one of {', '.join(LAYOUTS)}.")
    with SourceFiles(path) as files:
        names = files.names()
        astray = [name for name in names if leads_out(name)]
        names = [name for name in names if not leads_out(name)]
        if not any(_is_picture(name) for name in names):
            raise DatasetError(
                f"{path} has no pictures in it: give a folder or a zip with JPEG or PNG files."
            )
        source = _labelled_source(files, names, layout)
    check_declared(path, source.attributes)
    known = {entry.name for entry in source.entries}
    entries = [Entry(n, reason="its path leads out of the zip") for n in astray if n not in known]
    return replace(source, entries=tuple(sorted((*source.entries, *entries), key=_by_name)))


def _by_name(entry: Entry) -> str:
    return entry.name


def _labelled_source(files: SourceFiles, names: list[str], layout: str) -> Source:
    path, labels_file = files.path, _labels_file(names)
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
    values = sorted_values("class", [class_of[n] for n in class_of if _is_picture(n)])
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


def _read_labels(files: SourceFiles, labels_file: str) -> LabelFile:
    where = f"{files.path}/{labels_file}"
    try:
        data = files.read(labels_file)
    except Exception as error:  # a damaged or encrypted zip entry raises almost anything
        why = str(error) or type(error).__name__
        raise DatasetError(f"{where} cannot be read ({why}): correct that file.") from error
    return parse_label_file(where, data)


def _labelled_entries(
    files: SourceFiles, names: list[str], labels_file: str
) -> tuple[tuple[DeclaredAttribute, ...], tuple[Entry, ...]]:
    labels = _read_labels(files, labels_file)
    root = PurePosixPath(labels_file).parent
    labelled: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for file, values in labels.rows:
        name = str(root / file)
        if not all(values):
            reasons.setdefault(name, f"a label is empty in {labels_file}")
        elif labelled.setdefault(name, values) != values:
            reasons.setdefault(name, f"labelled twice, differently, in {labels_file}")
    listed = labelled.keys() | reasons.keys()
    reasons |= {n: f"no label in {labels_file}" for n in names if n not in listed}
    reasons |= dict.fromkeys(listed - set(names), f"listed in {labels_file}, but not there")

    usable = [values for name, values in labelled.items() if name not in reasons]
    attributes = tuple(
        replace(a, values=a.values or sorted_values(a.name, [values[i] for values in usable]))
        for i, a in enumerate(labels.attributes)
    )
    index = [{value: i for i, value in enumerate(a.values)} for a in attributes]
    entries = []
    for name in sorted((listed | set(names)) - {labels_file}):
        if name in reasons:
            entries.append(Entry(name, reason=reasons[name]))
            continue
        values = labelled[name]
        unknown = [v for known, v in zip(index, values, strict=True) if v not in known]
        if unknown:
            reason = f"{unknown[0]!r} is not a declared value in {labels_file}"
            entries.append(Entry(name, reason=reason))
        else:
            row = tuple(known[v] for known, v in zip(index, values, strict=True))
            entries.append(Entry(name, row))
    return attributes, tuple(entries)
