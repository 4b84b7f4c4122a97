"""Raw pictures and labels → one dataset archive at one resolution.

The archive is a zip of stored (not deflated) RGB PNG files and a dataset.json, written last:
StyleGAN's convention, with the attributes, the counts and a digest beside the labels. The same
source gives the same bytes, however many processes worked on it.

It knows nothing of training: batches are made from the archive by `dataset`.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from training.curation import Curation
from training.description import RESOLUTIONS
from training.errors import DatasetError
from training.pictures import TAKE_ALL, Picture
from training.prepare_report import Duplicate, PrepareReport
from training.source_files import printable
from training.sources import Entry, Source, open_source
from training.workers import encode_all

FORMAT_VERSION = 1

Progress = Callable[[int, int], None]  # files done, files in all


def prepare(
    source: Path,
    archive: Path,
    *,
    resolution: int,
    name: str | None = None,
    layout: str = "auto",
    workers: int | None = None,
    curation: Curation = TAKE_ALL,
    progress: Progress | None = None,
) -> PrepareReport:
    """Makes a dataset archive from a folder or zip of pictures.

    Pictures are turned upright, cropped to the centre square and resampled; those with the same
    pixels as an earlier one (by name) are dropped, those that are unreadable, unlabelled or below
    what `curation` asks for are skipped, and all of them named in the report, which is also
    written to `<archive>.report.json`.

    `name` is the data set's, by default the source's; `workers` defaults to the number of CPUs,
    and 1 stays in this process. `progress` is called from this process as files are done.
    Raises DatasetError, in which case no archive was written and an older one is untouched.
    """
    source, archive = Path(source), Path(archive)
    if resolution not in RESOLUTIONS:
        raise DatasetError(
            f"The resolution {resolution} is not a power of two from {RESOLUTIONS[0]} to "
            f"{RESOLUTIONS[-1]}: choose one of {', '.join(map(str, RESOLUTIONS))}."
        )
    if workers is not None and workers < 1:
        raise DatasetError(f"{workers} workers cannot do anything: give 1 or more.")
    listing = open_source(source, layout)
    if archive.is_dir() or archive.resolve() == source.resolve():
        raise DatasetError(f"{archive} is not a place for the archive: name a new .zip file.")
    report = PrepareReport(
        archive=printable(str(archive)),
        name=printable(name or source.resolve().stem),
        source=printable(source.name),
        layout=listing.layout,
        resolution=resolution,
        attributes=listing.attributes,
        files=len(listing.entries),
    )
    started = time.perf_counter()
    partial = archive.with_name(f".{archive.name}.{os.getpid()}.partial")
    partial_report = partial.with_suffix(".report")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            names = [entry.name for entry in listing.entries if entry.labels is not None]
            processes = workers or os.cpu_count() or 1
            results = encode_all(listing.path, names, resolution, processes, curation)
            _write_archive(file, listing, report, results, progress)
            file.flush()
            os.fsync(file.fileno())  # a disk that is full may say so only now
        report.seconds = time.perf_counter() - started
        # Names of files that are no Unicode stay what they are: JSON escapes them as Python does.
        partial_report.write_text(report.to_json(), encoding="utf-8", errors="backslashreplace")
        partial.replace(archive)
        partial_report.replace(archive.with_name(archive.name + ".report.json"))
    except OSError as error:
        raise DatasetError(_write_failure(archive, error)) from error
    except BrokenProcessPool as error:
        raise DatasetError(
            f"A worker process died while {archive} was made, and nothing was written: there may "
            "be too little memory; try again with --workers 1."
        ) from error
    except KeyboardInterrupt:
        raise DatasetError(
            f"Interrupted while {archive} was made, and nothing was written: run it again."
        ) from None
    finally:
        for leftover in (partial, partial_report):
            with contextlib.suppress(OSError):
                leftover.unlink()
    return report


def archive_digest(pixel_digests: Sequence[bytes], labels: Sequence[Sequence[int]]) -> str:
    """Identity of a data set: sha256 over its pictures' pixel digests, in order, and its labels.

    It hashes pixels, not files, so it outlives a change of PNG encoder.
    """
    digest = hashlib.sha256()
    for pixel_digest in pixel_digests:
        digest.update(pixel_digest)
    digest.update(json.dumps([list(row) for row in labels], separators=(",", ":")).encode())
    return digest.hexdigest()


def _write_archive(
    file: io.BufferedWriter,
    source: Source,
    report: PrepareReport,
    results: Iterator[Picture | str],
    progress: Progress | None,
) -> None:
    """Writes all pictures, then dataset.json; fills in the report on the way."""
    first_with: dict[bytes, tuple[str, tuple[int, ...]]] = {}  # pixel digest → name, labels
    paths: list[str] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        labelled = [entry for entry in source.entries if entry.labels is not None]
        report.skipped = [entry for entry in source.entries if entry.labels is None]
        done = len(report.skipped)
        for entry, picture in zip(labelled, results, strict=True):
            done += 1
            if progress is not None:
                progress(done, report.files)
            labels = entry.labels or ()
            if isinstance(picture, str):
                report.skipped.append(Entry(entry.name, reason=picture))
                continue
            if (first := first_with.get(picture.pixel_digest)) is not None:
                report.duplicates.append(Duplicate(entry.name, first[0], first[1] != labels))
                continue
            first_with[picture.pixel_digest] = (entry.name, labels)
            index = f"{len(paths):08d}"
            paths.append(f"images/{index[:5]}/img{index}.png")
            report.upscaled += picture.upscaled
            report.animated += picture.animated
            _add(out, paths[-1], picture.png)
        if not paths:
            some = report.skipped[0]
            raise DatasetError(
                f"None of the {report.files} files in {source.path} can be used; the first, "
                f"{printable(some.name)}: {some.reason}."
            )
        kept = [labels for _, labels in first_with.values()]
        report.pictures = len(paths)
        report.skipped.sort(key=lambda entry: entry.name)
        report.digest = archive_digest(list(first_with), kept)
        for i, attribute in enumerate(source.attributes):
            counted = Counter(labels[i] for labels in kept)
            report.counts[attribute.name] = {v: counted[j] for j, v in enumerate(attribute.values)}
        _add(out, "dataset.json", _dataset_json(report, paths, kept))


def _dataset_json(report: PrepareReport, paths: list[str], labels: list[tuple[int, ...]]) -> bytes:
    document = {
        "format_version": FORMAT_VERSION,
        "name": report.name,
        "resolution": report.resolution,
        "attributes": [asdict(attribute) for attribute in report.attributes],
        "labels": [[path, list(row)] for path, row in zip(paths, labels, strict=True)],
        "source": {
            "name": report.source,
            "layout": report.layout,
            "pictures": report.pictures,
            "duplicates": len(report.duplicates),
            "skipped": len(report.skipped),
        },
        "digest": report.digest,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _add(out: zipfile.ZipFile, path: str, data: bytes) -> None:
    info = zipfile.ZipInfo(path)  # dated 1980: the same pictures give the same archive
    info.external_attr = 0o644 << 16
    out.writestr(info, data)


def _write_failure(archive: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full and {archive} was not written: free some space, or name an "
            "archive on another disk."
        )
    return (
        f"{archive} cannot be written ({error.strerror or error}): name an archive in a folder "
        "where you may write."
    )
