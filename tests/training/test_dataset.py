import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from training_archives import write_archive

from training.dataset import Dataset
from training.errors import DatasetError


def test_lower_resolutions_are_box_means(dataset: Dataset) -> None:
    blocks = dataset.images(16).reshape(48, 8, 2, 8, 2, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(dataset.images(8) - blocks).max() <= 0.5


def test_priors_are_shares_of_the_pictures(dataset: Dataset) -> None:
    joint = dataset.joint_prior()
    assert joint is not None
    np.testing.assert_allclose(joint, 1 / 6)
    assert dataset.label_sizes == (2, 3)
    assert [a.name for a in dataset.attributes()] == ["gender", "age"]
    assert dataset.attributes()[1].prior == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_an_archive_without_labels_is_unconditional(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "plain.zip", labelled=False))
    assert dataset.label_dim == 0
    assert dataset.joint_prior() is None
    assert dataset.one_hot(dataset.index_NA).shape == (48, 0)


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


def test_many_attributes_have_no_joint_prior(tmp_path: Path) -> None:
    names = {f"a{i}": ["no", "yes"] for i in range(40)}
    labels = {"attributes": names, "label": lambda i: [(i >> (k % 5)) & 1 for k in range(40)]}
    many = Dataset(write_archive(tmp_path / "many.zip", **labels))
    assert many.joint_prior() is None
    assert len(many.attributes()) == 40
    few = {"attributes": dict(list(names.items())[:12]), "label": lambda i: [i & 1] * 12}
    prior = Dataset(write_archive(tmp_path / "few.zip", **few)).joint_prior()
    assert prior is not None
    assert (prior.shape, prior.sum()) == ((2,) * 12, pytest.approx(1))
