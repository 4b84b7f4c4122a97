"""Finding pictures and their labels, layout by layout, without looking at a pixel."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from training.errors import DatasetError
from training.source_files import SourceFiles
from training.sources import Source, open_source


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"bytes")
    return root


def labels_of(source: Source) -> dict[str, tuple[str, ...]]:
    """File → value names, for the files that have labels."""
    return {
        entry.name: tuple(a.values[i] for a, i in zip(source.attributes, entry.labels, strict=True))
        for entry in source.entries
        if entry.labels is not None
    }


def reasons_of(source: Source) -> dict[str, str]:
    return {entry.name: entry.reason for entry in source.entries if entry.labels is None}


@pytest.fixture(params=["folder", "zip"])
def as_source(request: pytest.FixtureRequest, tmp_path: Path):
    """Gives a folder as it is, or the same files as a zip."""

    def convert(folder: Path) -> Path:
        if request.param == "folder":
            return folder
        path = tmp_path / "source.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*"):
                archive.write(file, file.relative_to(folder))
        return path

    return convert


class TestUtkface:
    def test_labels_come_from_names(self, tmp_path: Path, as_source) -> None:
        folder = put(
            tmp_path / "raw",
            "0_1_2_20170112.jpg.chip.jpg",
            "9_0_0_20170112.jpg.chip.jpg",
            "part2/34_0_4_20170112.jpg",
            "116_1_3_20170112.jpg",
        )
        source = open_source(as_source(folder))
        assert source.layout == "utkface"
        assert [a.name for a in source.attributes] == ["gender", "age", "ethnicity"]
        assert labels_of(source) == {
            "0_1_2_20170112.jpg.chip.jpg": ("female", "0-9", "Asian"),
            "9_0_0_20170112.jpg.chip.jpg": ("male", "0-9", "White"),
            "part2/34_0_4_20170112.jpg": ("male", "30-39", "Others"),
            "116_1_3_20170112.jpg": ("female", "60+", "Indian"),
        }

    def test_names_that_lack_a_field_are_named(self, tmp_path: Path) -> None:
        put(tmp_path, "61_1_20170109.jpg", "20_0_0_20170112.jpg", "20_0_7_20170112.jpg")
        source = open_source(tmp_path)
        assert list(labels_of(source)) == ["20_0_0_20170112.jpg"]
        reason = "name does not read age_gender_ethnicity_timestamp"
        assert reasons_of(source) == {"61_1_20170109.jpg": reason, "20_0_7_20170112.jpg": reason}


class TestFolders:
    def test_folder_names_are_sorted_classes(self, tmp_path: Path, as_source) -> None:
        folder = put(
            tmp_path / "raw", "b/1.jpg", "a/1.png", "a/deep/2.png", "c10/1.jpg", "c9/1.jpg"
        )
        source = open_source(as_source(folder))
        assert source.layout == "folders"
        assert source.attributes[0].name == "class"
        assert source.attributes[0].values == ("a", "b", "c9", "c10")
        assert labels_of(source)["a/deep/2.png"] == ("a",)
        assert [entry.name for entry in source.entries] == sorted(labels_of(source))

    def test_wrapping_folder_is_no_class(self, tmp_path: Path) -> None:
        put(tmp_path, "data/train/cat/1.jpg", "data/train/dog/1.jpg")
        assert open_source(tmp_path).attributes[0].values == ("cat", "dog")

    def test_one_folder_is_a_class(self, tmp_path: Path) -> None:
        put(tmp_path, "faces/1.jpg", "faces/2.jpg")
        assert open_source(tmp_path).attributes[0].values == ("faces",)

    def test_stray_files_are_named_and_hidden_ones_passed_over(self, tmp_path: Path) -> None:
        put(tmp_path, "cat/1.jpg", "1.jpg", ".hidden.jpg", "__MACOSX/cat/1.jpg", "notes/a.txt")
        source = open_source(tmp_path)
        assert list(labels_of(source)) == ["cat/1.jpg"]
        reason = "not in the folder of a class"
        assert reasons_of(source) == {"1.jpg": reason, "notes/a.txt": reason}


class TestLabels:
    def test_a_csv_gives_labels(self, tmp_path: Path, as_source) -> None:
        folder = put(tmp_path / "raw", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "sub/5.jpg", "6.jpg")
        (folder / "labels.csv").write_text(
            "\ufefffile,mood,width\n1.jpg,happy,10\n2.jpg,sad,9\n3.jpg,,9\n4.jpg,sad,9\n"
            "4.jpg,happy,9\nsub/5.jpg,sad,10\ngone.jpg,sad,9\n",
            encoding="utf-8",
        )
        source = open_source(as_source(folder))
        assert source.layout == "labels"
        assert [(a.name, a.values) for a in source.attributes] == [
            ("mood", ("happy", "sad")),
            ("width", ("9", "10")),
        ]
        assert labels_of(source) == {
            "1.jpg": ("happy", "10"),
            "2.jpg": ("sad", "9"),
            "sub/5.jpg": ("sad", "10"),
        }
        assert reasons_of(source) == {
            "3.jpg": "a label is empty in labels.csv",
            "4.jpg": "labelled twice, differently, in labels.csv",
            "6.jpg": "no label in labels.csv",
            "gone.jpg": "listed in labels.csv, but not there",
        }

    def test_a_json_of_stylegan_gives_labels(self, tmp_path: Path, as_source) -> None:
        folder = put(tmp_path / "raw", "00000/img1.png", "00000/img2.png")
        document = {"labels": [["00000/img1.png", 7], ["00000/img2.png", 10]]}
        (folder / "dataset.json").write_text(json.dumps(document))
        source = open_source(as_source(folder))
        assert source.attributes[0].values == ("7", "10")
        assert labels_of(source)["00000/img2.png"] == ("10",)

    def test_a_json_may_declare_its_attributes(self, tmp_path: Path) -> None:
        put(tmp_path, "1.png", "2.png", "3.png")
        document = {
            "attributes": [
                {"name": "mood", "values": ["sad", "happy"]},
                {"name": "hat", "values": ["no", "yes"]},
            ],
            "labels": [["1.png", [1, 0]], ["2.png", ["sad", "yes"]], ["3.png", [2, 0]]],
        }
        (tmp_path / "dataset.json").write_text(json.dumps(document))
        source = open_source(tmp_path)
        assert [a.values for a in source.attributes] == [("sad", "happy"), ("no", "yes")]
        assert labels_of(source) == {"1.png": ("happy", "no"), "2.png": ("sad", "yes")}
        assert reasons_of(source) == {"3.png": "'2' is not a declared value in dataset.json"}

    def test_json_with_several_unnamed_labels(self, tmp_path: Path) -> None:
        put(tmp_path, "1.png")
        (tmp_path / "dataset.json").write_text('{"labels": [["1.png", [3, 4]]]}')
        assert [a.name for a in open_source(tmp_path).attributes] == ["label0", "label1"]

    def test_paths_are_relative_to_the_labels_file(self, tmp_path: Path) -> None:
        put(tmp_path, "wrapped/pictures/1.png")
        (tmp_path / "wrapped/labels.csv").write_text("file,kind\npictures/1.png,a\n")
        assert labels_of(open_source(tmp_path)) == {"wrapped/pictures/1.png": ("a",)}

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("labels.csv", "name,age\n1.png,3\n", "needs the column 'file'"),
            ("labels.csv", "file\n1.png\n", "one column per attribute"),
            ("labels.csv", "", "it has none"),
            ("dataset.json", "{", "cannot be read"),
            ("dataset.json", "[]", "has no labels"),
            ("dataset.json", '{"labels": null}', "has no labels"),
            ("dataset.json", '{"labels": [["1.png"]]}', "is not understood"),
            ("dataset.json", '{"labels": [["1.png", 0.5]]}', "integers or strings"),
            ("dataset.json", '{"labels": [["1.png", 1], ["2.png", [1, 2]]]}', "the same number"),
        ],
    )
    def test_a_bad_labels_file_is_named(
        self, tmp_path: Path, name: str, text: str, message: str
    ) -> None:
        put(tmp_path, "1.png")
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetError, match=message) as caught:
            open_source(tmp_path)
        assert name in str(caught.value)

    def test_a_column_of_names_is_no_attribute(self, tmp_path: Path) -> None:
        put(tmp_path, *(f"{i}.png" for i in range(1001)))
        rows = "".join(f"{i}.png,id{i}\n" for i in range(1001))
        (tmp_path / "labels.csv").write_text("file,person\n" + rows)
        with pytest.raises(DatasetError, match="'person' has 1001 distinct values"):
            open_source(tmp_path)


class TestLayout:
    def test_a_layout_that_is_named_is_not_guessed(self, tmp_path: Path) -> None:
        put(tmp_path, "x/20_0_0_1.jpg", "y/20_0_0_2.jpg")
        assert open_source(tmp_path).layout == "utkface"
        assert open_source(tmp_path, "folders").attributes[0].values == ("x", "y")

    def test_an_unknown_layout_is_refused_with_those_there_are(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"no layout 'tree': choose one of auto, utkface"):
            open_source(tmp_path, "tree")

    def test_labels_need_a_labels_file(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"neither dataset\.json nor labels\.csv"):
            open_source(put(tmp_path, "a/1.jpg"), "labels")

    def test_folders_need_folders(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="one folder per class"):
            open_source(put(tmp_path, "1.jpg"), "folders")

    def test_pictures_without_labels_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"have no labels: put them in one folder per class"):
            open_source(put(tmp_path, "1.jpg", "2.jpg"))


class TestNothingThere:
    def test_a_source_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"There is no .*missing\.zip"):
            open_source(tmp_path / "missing.zip")

    def test_a_source_without_pictures_is_refused(self, tmp_path: Path, as_source) -> None:
        with pytest.raises(DatasetError, match="has no pictures in it"):
            open_source(as_source(put(tmp_path / "raw", "notes.txt")))

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="has no pictures in it"):
            open_source(tmp_path)

    def test_a_damaged_zip_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "source.zip"
        path.write_bytes(b"PK but not really")
        with pytest.raises(DatasetError, match=r"source\.zip cannot be read as a zip"):
            open_source(path)


def test_huge_files_are_not_read(
    tmp_path: Path, as_source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.zip_members.MAX_FILE_BYTES", 4)
    with (
        SourceFiles(as_source(put(tmp_path / "raw", "1.jpg"))) as files,
        pytest.raises(ValueError, match="larger than"),
    ):
        files.read("1.jpg")


class TestFilesOfAFolder:
    def test_linked_folders_are_looked_into(self, tmp_path: Path) -> None:
        put(tmp_path / "elsewhere", "1.jpg", "2.jpg")
        raw = put(tmp_path / "raw", "a/1.jpg")
        (raw / "b").symlink_to(tmp_path / "elsewhere")
        source = open_source(raw)
        assert labels_of(source) == {"a/1.jpg": ("a",), "b/1.jpg": ("b",), "b/2.jpg": ("b",)}

    def test_a_link_that_leads_back_ends(self, tmp_path: Path) -> None:
        raw = put(tmp_path / "raw", "a/1.jpg", "b/1.jpg")
        (raw / "b" / "back").symlink_to(raw)
        (raw / "b" / "round").symlink_to("round")
        (raw / "b" / "out").symlink_to(tmp_path)
        put(tmp_path / "other", "1.jpg")
        (raw / "c").symlink_to(tmp_path / "other")
        (tmp_path / "other" / "on").symlink_to(raw / "a")
        (raw / "a" / "long").symlink_to("n" * 300)
        links = ["a/long", "b/back", "b/out", "b/round", "c/on"]
        with SourceFiles(raw) as files:
            assert sorted({*files.names()} - {*links}) == ["a/1.jpg", "b/1.jpg", "c/1.jpg"]
            for link in links:
                with pytest.raises((ValueError, OSError)):
                    files.read(link)

    def test_a_folder_that_cannot_be_listed_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raw = put(tmp_path / "raw", "a/1.jpg", "b/1.jpg", ".trash/1.jpg", "lost+found/1.jpg")
        listed = os.scandir

        def scandir(folder: Path):
            if Path(folder).name in ("b", ".trash", "lost+found"):
                raise PermissionError(13, "Permission denied")
            return listed(folder)

        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.raises(DatasetError, match=r"raw/b cannot be listed \(Permission denied\)"):
            open_source(raw)
