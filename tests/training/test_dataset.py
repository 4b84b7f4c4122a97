import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from training_archives import write_archive

from training.dataset import Dataset
from training.errors import DatasetError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(write_archive(tmp_path / "noise.zip"))


def draw(dataset: Dataset, seen: int, size: int = 8, **options: object) -> np.ndarray:
    settings = {"seed": 0, "mirror": False, **options}
    return dataset.batch(16, size, images_seen=seen, **settings).image_BHWC


def test_an_epoch_shows_every_picture_once_and_the_next_in_another_order(dataset: Dataset) -> None:
    first = np.concatenate([draw(dataset, seen) for seen in range(0, 48, 8)])
    second = np.concatenate([draw(dataset, seen) for seen in range(48, 96, 8)])
    every = {picture.tobytes() for picture in dataset.images(16)}
    assert {p.tobytes() for p in first} == {p.tobytes() for p in second} == every
    assert not np.array_equal(first, second)


def test_what_is_drawn_depends_on_position_and_seed_alone(dataset: Dataset) -> None:
    again = Dataset(dataset.archive)
    np.testing.assert_array_equal(draw(dataset, 40, 16), draw(again, 40, 16))
    assert not np.array_equal(draw(dataset, 0), draw(dataset, 0, seed=1))
    assert not np.array_equal(draw(dataset, 0), draw(dataset, 8))


def test_batches_do_not_depend_on_how_an_epoch_is_cut(dataset: Dataset) -> None:
    small = np.concatenate([draw(dataset, seen, 4) for seen in range(0, 24, 4)])
    np.testing.assert_array_equal(small, draw(dataset, 0, 24))


def test_mirroring_flips_some_pictures_and_changes_no_other(dataset: Dataset) -> None:
    plain, mirrored = draw(dataset, 0, 48), draw(dataset, 0, 48, mirror=True)
    flipped = [not np.array_equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    assert 5 < sum(flipped) < 43
    for a, b, is_flipped in zip(plain, mirrored, flipped, strict=True):
        np.testing.assert_array_equal(a[:, ::-1] if is_flipped else a, b)


def test_labels_belong_to_their_pictures(dataset: Dataset) -> None:
    batch = dataset.batch(16, 48, images_seen=0, seed=3, mirror=False)
    numbers = {picture.tobytes(): i for i, picture in enumerate(dataset.images(16))}
    for picture, label in zip(batch.image_BHWC, batch.label_BL, strict=True):
        i = numbers[picture.tobytes()]
        expected = np.zeros(5)
        expected[[i % 2, 2 + i % 3]] = 1
        np.testing.assert_array_equal(label, expected)


def test_lower_resolutions_are_box_means(dataset: Dataset) -> None:
    blocks = dataset.images(16).reshape(48, 8, 2, 8, 2, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(dataset.images(8) - blocks).max() <= 0.5


def test_priors_are_shares_of_the_pictures(dataset: Dataset) -> None:
    joint = dataset.joint_prior()
    assert joint is not None
    np.testing.assert_allclose(joint, 1 / 6)
    assert [a.name for a in dataset.attributes()] == ["gender", "age"]
    assert dataset.attributes()[1].prior == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_an_archive_without_labels_is_unconditional(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "plain.zip", labelled=False))
    assert dataset.label_dim == 0
    assert dataset.joint_prior() is None
    assert dataset.batch(16, 4, images_seen=0, seed=0, mirror=True).label_BL.shape == (4, 0)


def test_a_missing_archive_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.zip does not exist.*prepare"):
        Dataset(tmp_path / "gone.zip")


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"not a zip")
    with pytest.raises(DatasetError, match="not a dataset archive"):
        Dataset(tmp_path / "x.zip")


def test_an_archive_of_another_version_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("dataset.json", json.dumps({"format_version": 9, "labels": []}))
    with pytest.raises(DatasetError, match="format_version 9"):
        Dataset(tmp_path / "x.zip")


def test_a_damaged_picture_is_named_and_no_cache_is_left(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "bad.zip", count=2)
    with zipfile.ZipFile(path, "a") as archive:
        description = json.loads(archive.read("dataset.json"))
        description["labels"].append(["images/broken.png", [0, 0]])
        archive.writestr("images/broken.png", b"no picture")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.zip", "w") as new:
        for name in old.namelist():
            if name != "dataset.json":
                new.writestr(name, old.read(name))
        new.writestr("dataset.json", json.dumps(description))
    with pytest.raises(DatasetError, match=r"images/broken\.png"):
        Dataset(tmp_path / "new.zip").images(16)
    assert list((tmp_path / "new.zip.cache").iterdir()) == []


def test_a_larger_resolution_than_prepared_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="--resolution 32"):
        dataset.images(32)
