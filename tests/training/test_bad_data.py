"""What people really hand in: each odd file is used rightly or named, and nothing crashes.

A table: a file, and what becomes of it. The source around it always holds good pictures, which
must come through whatever lies beside them.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.errors import DatasetError
from training.pictures import encode_picture
from training.prepare import prepare
from training.prepare_report import PrepareReport
from training.sources import open_source

SIDE = 16
ORANGE, BLUE = (250, 120, 10), (20, 60, 200)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB", side: int = 32) -> Image.Image:
    """Orange above, blue below."""
    image = Image.new("RGB", (side, side), ORANGE)
    image.paste(BLUE, (0, side // 2, side, side))
    return image if mode == "RGB" else image.convert(mode)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: blue, below, comes to lie on the left
    return saved(halves(), exif=exif)


def sixteen_bit_rgb() -> bytes:
    """A PNG of 16 bits per channel, which Pillow reads but does not write."""
    pixels = np.asarray(halves()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def sixteen_bit_grey() -> bytes:
    return saved(Image.fromarray(np.asarray(halves("L")).astype(np.uint16) * 257))


def sixteen_bit_grey_and_clear() -> bytes:
    """Below, a grey that is wholly transparent, so white."""
    image = Image.open(io.BytesIO(sixteen_bit_grey()))
    return saved(image, transparency=int(np.asarray(image)[-1, 0]))


def palette_with_alpha() -> bytes:
    """Orange above; below, a colour that is wholly transparent, so white."""
    image = Image.new("P", (32, 32), 0)
    image.putpalette([*ORANGE, *BLUE])
    image.paste(1, (0, 16, 32, 32))
    return saved(image, transparency=1)


def animated(kind: str) -> bytes:
    """Its first frame is the picture, the second is black."""
    black = Image.new("RGB", (32, 32))
    return saved(halves(), kind, save_all=True, append_images=[black], duration=100, lossless=True)


def forty_megapixels() -> bytes:
    return saved(halves("P", 40).resize((6400, 6400), Image.Resampling.NEAREST), compress_level=1)


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that promises a large picture and holds none."""
    data = bytearray(saved(halves()))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "above", "below", "tolerance"),
    [
        pytest.param(
            lambda: saved(halves("CMYK"), "JPEG", quality=95), ORANGE, BLUE, 12, id="CMYK"
        ),
        pytest.param(sixteen_bit_rgb, ORANGE, BLUE, 1, id="16-bit RGB"),
        pytest.param(sixteen_bit_grey, (146,) * 3, (64,) * 3, 2, id="16-bit grey"),
        pytest.param(
            sixteen_bit_grey_and_clear, (146,) * 3, (255,) * 3, 2, id="16-bit grey and clear"
        ),
        pytest.param(lambda: saved(halves("L")), (146,) * 3, (64,) * 3, 2, id="greyscale"),
        pytest.param(lambda: saved(halves("LA")), (146,) * 3, (64,) * 3, 2, id="grey and alpha"),
        pytest.param(lambda: saved(halves("P"), "GIF"), ORANGE, BLUE, 12, id="palette"),
        pytest.param(palette_with_alpha, ORANGE, (255,) * 3, 0, id="palette with alpha"),
        pytest.param(lambda: animated("GIF"), ORANGE, BLUE, 12, id="animated GIF"),
        pytest.param(lambda: animated("WEBP"), ORANGE, BLUE, 4, id="animated WebP"),
        pytest.param(lambda: animated("PNG"), ORANGE, BLUE, 0, id="animated PNG"),
        pytest.param(forty_megapixels, ORANGE, BLUE, 12, id="40 megapixels"),
    ],
)
def test_odd_pictures_are_read_rightly(
    make: Callable[[], bytes], above: tuple[int, ...], below: tuple[int, ...], tolerance: int
) -> None:
    picture = encode_picture(make(), SIDE)
    assert not isinstance(picture, str), picture
    image_HWC = np.asarray(Image.open(io.BytesIO(picture.png))).astype(int)
    assert np.abs(image_HWC[2] - above).max() <= tolerance
    assert np.abs(image_HWC[-3] - below).max() <= tolerance


def test_a_turned_picture_stands_upright() -> None:
    picture = encode_picture(rotated(), SIDE)
    assert not isinstance(picture, str)
    image_HWC = np.asarray(Image.open(io.BytesIO(picture.png)))
    assert tuple(image_HWC[8, 2]) == BLUE
    assert tuple(image_HWC[8, -3]) == ORANGE


JPEG = saved(halves(side=200), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "an empty file", id="zero bytes"),
        pytest.param(b"<html>not found</html>", "not a picture", id="a web page"),
        pytest.param(
            JPEG[: len(JPEG) // 2], "unreadable: image file is truncated", id="truncated JPEG"
        ),
        pytest.param(saved(halves())[:-40], "unreadable: ", id="truncated PNG"),
        pytest.param(saved(Image.new("RGB", (1, 1))), "too small: a side of 1 px", id="1×1"),
        pytest.param(saved(Image.new("RGB", (900, 3))), "too small: a side of 3 px", id="a line"),
        pytest.param(png_header_only(30_000, 30_000), "more than 89 million pixels", id="PNG bomb"),
        pytest.param(png_header_only(10_000, 10_000), "more than 89 million pixels", id="100 MP"),
        pytest.param(
            saved(Image.fromarray(np.full((32, 32), 0.5, np.float32)), "TIFF"),
            "floating-point grey values",
            id="floats",
        ),
        pytest.param(
            saved(Image.fromarray(np.full((32, 32), 10**6, np.int32)), "TIFF"),
            "grey values beyond 16 bits",
            id="32-bit grey",
        ),
        pytest.param(saved(halves(), "EPS"), "not a picture", id="PostScript, a program"),
    ],
)
def test_what_cannot_be_used_is_named(data: bytes, reason: str) -> None:
    assert str(encode_picture(data, SIDE)).startswith(reason)


def good(number: int) -> bytes:
    return saved(Image.new("RGB", (32, 32), (number * 40, 90, 30)))


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def prepared(source: Path, tmp_path: Path) -> tuple[PrepareReport, dict[str, str]]:
    report = prepare(source, tmp_path / "out.zip", resolution=SIDE, workers=1)
    return report, {entry.name: entry.reason for entry in report.skipped}


GOOD = {"a/1.png": good(1), "b/2.png": good(2)}


class TestZip:
    def test_paths_that_climb_out_are_named_and_nothing_lands_there(self, tmp_path: Path) -> None:
        source = tmp_path / "deep" / "source.zip"
        source.parent.mkdir()
        names = ("../../up.png", "a/../../up.png", "/abs/up.png", "..\\up.png")
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in GOOD.items():
                archive.writestr(name, data)
            for i, name in enumerate(names):
                archive.writestr(zipfile.ZipInfo(name), good(3 + i))
        report, skipped = prepared(source, tmp_path)
        assert report.pictures == 2
        assert skipped == dict.fromkeys(names, "its path leads out of the zip")
        assert not list(tmp_path.rglob("up.png"))

    def test_a_bomb_is_named(self, tmp_path: Path) -> None:
        source = tmp_path / "source.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in GOOD.items():
                archive.writestr(name, data)
            archive.writestr("a/bomb.bmp", bytes(20 * 2**20))
        report, skipped = prepared(source, tmp_path)
        assert report.pictures == 2
        assert "a zip bomb" in skipped["a/bomb.bmp"]

    def test_a_bomb_that_lies_about_its_size_is_named(self, tmp_path: Path) -> None:
        source = tmp_path / "source.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in GOOD.items():
                archive.writestr(name, data)
            archive.writestr("a/bomb.bmp", bytes(2**20))
        data = source.read_bytes()
        source.write_bytes(data.replace(struct.pack("<I", 2**20), struct.pack("<I", 100)))
        report, skipped = prepared(source, tmp_path)
        assert report.pictures == 2
        assert list(skipped) == ["a/bomb.bmp"]

    def test_labels_that_are_a_bomb_are_refused(self, tmp_path: Path) -> None:
        source = tmp_path / "source.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("1.png", good(1))
            archive.writestr("dataset.json", bytes(20 * 2**20))
        with pytest.raises(DatasetError, match=r"dataset\.json cannot be read .* a zip bomb"):
            open_source(source)

    def test_a_link_in_a_zip_is_not_followed(self, tmp_path: Path) -> None:
        source = tmp_path / "source.zip"
        put(tmp_path, {"secret.png": good(5)})
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in GOOD.items():
                archive.writestr(name, data)
            archive.writestr(link, str(tmp_path / "secret.png"))
        assert prepared(source, tmp_path)[1] == {"a/link.png": "not a picture"}


class TestFolder:
    def test_what_is_no_file_is_named(self, tmp_path: Path) -> None:
        source = put(tmp_path / "raw", GOOD)
        os.mkfifo(source / "a" / "pipe.png")
        (source / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
        report, skipped = prepared(source, tmp_path)
        assert report.pictures == 2
        assert skipped == dict.fromkeys(
            ("a/pipe.png", "b/gone.png"), "unreadable: it is not a regular file"
        )

    def test_first_frames_are_counted_and_said(self, tmp_path: Path) -> None:
        report, _ = prepared(put(tmp_path / "raw", {**GOOD, "a/3.gif": animated("GIF")}), tmp_path)
        assert (report.pictures, report.animated) == (3, 1)
        assert "1: only their first frame was taken" in report.summary()

    def test_a_phones_depth_map_is_no_animation(self, tmp_path: Path) -> None:
        depth = Image.new("RGB", (32, 32))
        photo = saved(halves(), "MPO", save_all=True, append_images=[depth])
        report, _ = prepared(put(tmp_path / "raw", {**GOOD, "a/3.jpg": photo}), tmp_path)
        assert (report.pictures, report.animated) == (3, 0)


def table(*lines: str) -> bytes:
    return "\n".join(lines).encode()


class TestCsv:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            (table("file,mood,", "1.png,sad,", "2.png,glad,"), ["sad", "glad"]),
            (table("file,mood", "1.png,sad", ",", "", "2.png,glad"), ["sad", "glad"]),
            (table(" file , mood ", "1.png, sad ", "2.png,glad"), ["sad", "glad"]),
            ("\ufefffile,mood\r\n1.png,säd\r\n2.png,glad\r\n".encode(), ["säd", "glad"]),
            (table("file,mood,", "1.png,sad", "2.png,glad"), ["sad", "glad"]),
        ],
    )
    def test_what_spreadsheets_leave_behind_does_no_harm(
        self, tmp_path: Path, text: bytes, labels: list[str]
    ) -> None:
        put(tmp_path, {"1.png": good(1), "2.png": good(2), "labels.csv": text})
        source = open_source(tmp_path)
        (mood,) = source.attributes
        assert mood.name == "mood"
        assert [mood.values[e.labels[0]] for e in source.entries if e.labels] == labels

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (table("file,mood", "1.png,sad,very", "2.png,glad"), "line 2, has a cell in no named"),
            (table("file,mood,", "1.png,sad,very"), "line 2, has a cell in no named column"),
            (table("file,mood,mood", "1.png,sad,glad"), "has the column 'mood' twice"),
            (table("file,mood", "1.png,sad", ",glad"), "line 3, names no file"),
            (table("file;mood", "1.png;sad"), "needs the column 'file'"),
            ("file,mood\n1.png,säd\n".encode("latin-1"), "is not UTF-8 text .*: save it as UTF-8"),
            ("file,mood\n1.png,sad\n".encode("utf-16"), "is not UTF-8 text"),
            (b'file,mood\n1.png,"' + b"x" * 200_000, "cannot be read"),
        ],
    )
    def test_what_is_unclear_is_named(self, tmp_path: Path, text: bytes, message: str) -> None:
        put(tmp_path, {"1.png": good(1), "labels.csv": text})
        with pytest.raises(DatasetError, match=message) as caught:
            open_source(tmp_path)
        assert "labels.csv" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_column_of_notes_is_no_attribute(self, tmp_path: Path) -> None:
        pictures = {f"{i}.png": b"" for i in range(30)}
        rows = [f"{i}.png,{'ab'[i % 2]},note {i}" for i in range(30)]
        put(tmp_path, {**pictures, "labels.csv": table("file,mood,note", *rows)})
        with pytest.raises(DatasetError, match="'note' has 30 distinct values in 30 pictures"):
            open_source(tmp_path)

    def test_files_that_are_missing_or_elsewhere_are_named(self, tmp_path: Path) -> None:
        outside = put(tmp_path, {"secret.png": good(5)}) / "secret.png"
        text = table("file,mood", "1.png,sad", "2.png,glad", "gone.png,sad", "../secret.png,sad")
        source = put(tmp_path / "raw", {"1.png": good(1), "2.png": good(2), "labels.csv": text})
        report, skipped = prepared(source, tmp_path)
        assert outside.exists()
        assert report.pictures == 2
        assert skipped == dict.fromkeys(
            ("gone.png", "../secret.png"), "listed in labels.csv, but not there"
        )

    def test_json_too_deep_to_read(self, tmp_path: Path) -> None:
        put(tmp_path, {"1.png": good(1), "dataset.json": b"[" * 200_000})
        with pytest.raises(DatasetError, match=r"dataset\.json cannot be read"):
            open_source(tmp_path)


class TestImbalance:
    @staticmethod
    def warnings(**counts: int) -> list[str]:
        report = PrepareReport("a.zip", "a", "a", "folders", SIDE, (), counts={"mood": counts})
        assert all(f"warning     {w}" in report.summary() for w in report.warnings)
        return report.warnings

    def test_uneven_values_are_said(self) -> None:
        (sentence,) = self.warnings(sad=500, glad=10, calm=40)
        assert sentence.startswith("'mood' is uneven: 500 pictures of 'sad', 10 of 'glad'.")

    def test_a_value_without_pictures_is_said(self) -> None:
        (sentence,) = self.warnings(sad=50, glad=0, calm=40)
        assert sentence.startswith("'mood' has no picture of 'glad'")

    def test_even_ones_are_not(self) -> None:
        assert self.warnings(sad=50, glad=5) == []
        assert self.warnings(sad=50) == []

    def test_they_are_in_the_report_beside_the_archive(self, tmp_path: Path) -> None:
        many = {f"a/{i}.png": good(i % 6) + bytes(i) for i in range(6)}
        many |= {f"c/{i}.png": saved(Image.new("RGB", (32, 32), (i, 0, 0))) for i in range(1, 24)}
        report, _ = prepared(put(tmp_path / "raw", {**many, "b/1.png": good(7)}), tmp_path)
        assert report.counts == {"class": {"a": 6, "b": 1, "c": 23}}
        assert "'class' is uneven" in (tmp_path / "out.zip.report.json").read_text()
