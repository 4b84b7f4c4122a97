"""From generated pictures to an archive: order, duplicates, bad files, failures, determinism."""

import errno
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.commands import say
from training.dataset import Dataset
from training.errors import DatasetError
from training.prepare import archive_digest, prepare


def jpeg(seed: int, side: int = 20) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Eight labelled pictures in two folders."""
    for i in range(8):
        put(tmp_path / "faces" / "ab"[i % 2] / f"{i}.jpg", jpeg(i))
    return tmp_path / "faces"


def read_archive(path: Path) -> tuple[dict, list[np.ndarray], zipfile.ZipFile]:
    archive = zipfile.ZipFile(path)
    document = json.loads(archive.read("dataset.json"))
    pictures = [
        np.asarray(Image.open(io.BytesIO(archive.read(file)))) for file, _ in document["labels"]
    ]
    return document, pictures, archive


def test_an_archive_holds_whole_pictures_with_their_labels(faces: Path, tmp_path: Path) -> None:
    report = prepare(faces, tmp_path / "out" / "faces-16.zip", resolution=16, workers=1)
    document, pictures, archive = read_archive(tmp_path / "out" / "faces-16.zip")
    with archive:
        assert archive.namelist()[-1] == "dataset.json"
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert {picture.shape for picture in pictures} == {(16, 16, 3)}
    assert document["labels"][0] == ["images/00000/img00000000.png", [0]]
    assert [label for _, label in document["labels"]] == [[0]] * 4 + [[1]] * 4
    pixels = [hashlib.sha256(picture.tobytes()).digest() for picture in pictures]
    assert document["digest"] == archive_digest(pixels, [[0]] * 4 + [[1]] * 4) == report.digest
    assert {key: document[key] for key in document if key not in ("labels", "digest")} == {
        "format_version": 1,
        "name": "faces",
        "resolution": 16,
        "attributes": [{"name": "class", "values": ["a", "b"]}],
        "source": {
            "name": "faces",
            "layout": "folders",
            "pictures": 8,
            "duplicates": 0,
            "skipped": 0,
        },
    }


def test_a_zip_of_utkface_is_labelled_by_its_names(tmp_path: Path) -> None:
    source = tmp_path / "utk.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("34_1_2_2017.jpg.chip.jpg", jpeg(1))
        archive.writestr("70_0_0_2017.jpg.chip.jpg", jpeg(2))
    report = prepare(source, tmp_path / "a.zip", resolution=8, name="utkface", workers=1)
    document, _, archive = read_archive(tmp_path / "a.zip")
    archive.close()
    assert document["name"] == "utkface"
    assert [labels for _, labels in document["labels"]] == [[1, 3, 2], [0, 6, 0]]
    assert report.counts["gender"] == {"male": 1, "female": 1}


def test_labels_of_a_csv_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "raw/1.png", jpeg(1))
    put(tmp_path / "raw/2.png", jpeg(2))
    put(tmp_path / "raw/labels.csv", b"file,mood\n1.png,sad\n")
    report = prepare(tmp_path / "raw", tmp_path / "a.zip", resolution=8, workers=1)
    assert report.counts == {"mood": {"sad": 1}}
    assert [(e.name, e.reason) for e in report.skipped] == [("2.png", "no label in labels.csv")]


def test_duplicates_keep_the_first_by_name(faces: Path, tmp_path: Path) -> None:
    put(faces / "a" / "9.jpg", jpeg(0))
    put(faces / "b" / "9.jpg", jpeg(0))
    buffer = io.BytesIO()  # other bytes, same pixels
    Image.open(io.BytesIO(jpeg(1))).save(buffer, "PNG")
    put(faces / "b" / "same.png", buffer.getvalue())
    report = prepare(faces, tmp_path / "a.zip", resolution=16, workers=1)
    assert report.pictures == 8
    found = [(d.name, d.same_as, d.labels_disagree) for d in report.duplicates]
    assert found == [
        ("a/9.jpg", "a/0.jpg", False),
        ("b/9.jpg", "a/0.jpg", True),
        ("b/same.png", "b/1.jpg", False),
    ]
    assert "3 dropped, 1 with other labels" in report.summary()


def test_bad_files_are_named_and_skipped(faces: Path, tmp_path: Path) -> None:
    put(faces / "a" / "cut.jpg", jpeg(20, 64)[:900])
    put(faces / "a" / "text.jpg", b"not a picture at all")
    put(faces / "loose.jpg", jpeg(21))
    report = prepare(faces, tmp_path / "a.zip", resolution=16, workers=1)
    reasons = {entry.name: entry.reason for entry in report.skipped}
    assert reasons.keys() == {"a/cut.jpg", "a/text.jpg", "loose.jpg"}
    assert reasons["a/cut.jpg"].startswith("unreadable: ")
    assert reasons["a/text.jpg"] == "not a picture"
    assert reasons["loose.jpg"] == "not in the folder of a class"
    written = json.loads((tmp_path / "a.zip.report.json").read_text())
    assert {e["name"]: e["reason"] for e in written["skipped"]} == reasons
    assert "1 × not a picture" in report.summary()


def test_damaged_zip_entry_is_skipped(tmp_path: Path) -> None:
    source = tmp_path / "raw.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("a/1.jpg", jpeg(1))
        archive.writestr("a/2.jpg", jpeg(2))
    data = bytearray(source.read_bytes())
    data[data.index(b"a/2.jpg") + 100] ^= 0xFF
    source.write_bytes(data)
    report = prepare(source, tmp_path / "a.zip", resolution=8, workers=1)
    assert [entry.name for entry in report.skipped] == ["a/2.jpg"]
    assert "CRC" in report.skipped[0].reason


def test_upscaled_pictures_are_counted(faces: Path, tmp_path: Path) -> None:
    report = prepare(faces, tmp_path / "a.zip", resolution=32, workers=1)
    assert report.upscaled == 8
    assert "8 were smaller than the resolution" in report.summary()


def test_same_bytes_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.workers.CHUNK", 3)
    for i in range(40):
        put(tmp_path / "raw" / "abc"[i % 3] / f"{i}.jpg", jpeg(i % 37) if i % 7 else b"broken")
    reports = [
        prepare(tmp_path / "raw", tmp_path / f"{n}.zip", resolution=8, workers=n) for n in (1, 2)
    ]
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert reports[0].skipped == reports[1].skipped
    assert reports[0].duplicates == reports[1].duplicates
    assert reports[0].duplicates


def test_progress_counts_every_file(faces: Path, tmp_path: Path) -> None:
    put(faces / "loose.jpg", jpeg(9))
    seen: list[tuple[int, int]] = []
    prepare(
        faces,
        tmp_path / "a.zip",
        resolution=8,
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 9) for i in range(2, 10)]


@pytest.mark.parametrize("resolution", [0, 2, 100, 2048, -8])
def test_resolution_must_be_a_power_of_two(faces: Path, tmp_path: Path, resolution: int) -> None:
    with pytest.raises(DatasetError, match=f"{resolution} is not a power of two from 4 to 1024"):
        prepare(faces, tmp_path / "a.zip", resolution=resolution)


def test_a_source_without_a_usable_picture_leaves_no_archive(tmp_path: Path) -> None:
    put(tmp_path / "raw/a/1.jpg", b"broken")
    with pytest.raises(DatasetError, match=r"None of the 1 files .* a/1\.jpg: not a picture"):
        prepare(tmp_path / "raw", tmp_path / "out/a.zip", resolution=8, workers=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_source_is_never_overwritten(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a place for the archive"):
        prepare(faces, faces, resolution=8)


def test_archive_below_a_file(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot be written .* where you may write"):
        prepare(faces, faces / "a" / "0.jpg" / "a.zip", resolution=8, workers=1)


def test_no_workers_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 workers"):
        prepare(faces, tmp_path / "a.zip", resolution=8, workers=0)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full .* free some space"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied.* where you may write"),
        (KeyboardInterrupt(), "Interrupted .* nothing was written"),
    ],
)
def test_failure_leaves_nothing_half_written(
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    message: str,
) -> None:
    archive = tmp_path / "out" / "a.zip"
    put(archive, b"the archive of an earlier run")
    write, calls = zipfile.ZipFile.writestr, []

    def fail_on_the_fifth(self: zipfile.ZipFile, *arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 5:
            raise failure
        write(self, *arguments)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail_on_the_fifth)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare(faces, archive, resolution=8, workers=1)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in archive.parent.iterdir()] == ["a.zip"]
    assert archive.read_bytes() == b"the archive of an earlier run"


def test_names_that_are_no_unicode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / os.fsdecode(b"caf\xe9")
    for folder in ("a", "b"):
        (raw / folder).mkdir(parents=True)
        Image.new("RGB", (16, 16), (ord(folder), 9, 9)).save(raw / folder / "1.png")
    (raw / "a" / os.fsdecode(b"\xfcbel.png")).write_bytes(b"no picture")
    report = prepare(raw, tmp_path / "made.zip", resolution=16, workers=1)
    assert (report.pictures, report.name) == (2, r"caf\udce9")
    say(report.summary())
    told = json.loads((tmp_path / "made.zip.report.json").read_text(encoding="utf-8"))
    [skipped] = told["skipped"]
    assert os.fsencode(skipped["name"]) == b"a/\xfcbel.png"
    assert Dataset(tmp_path / "made.zip").name == report.name

    (raw / "b").rename(raw / os.fsdecode(b"b\xfc"))
    with pytest.raises(DatasetError, match="is no Unicode text: rename it"):
        prepare(raw, tmp_path / "other.zip", resolution=16, workers=1)
