from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from training_archives import write_archive

from training.dataset import Dataset
from training.sampler import Sampler


def draw(dataset: Dataset, seen: int, size: int = 8, **options: object) -> np.ndarray:
    sampler = Sampler(dataset, **{"seed": 0, **options})
    return sampler.batch(16, size, images_seen=seen).image_BHWC


def numbers(dataset: Dataset, pictures: np.ndarray) -> list[int]:
    """Which pictures of the archive these are."""
    known = {picture.tobytes(): i for i, picture in enumerate(dataset.images(16))}
    return [known[picture.tobytes()] for picture in pictures]


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
    batch = Sampler(dataset, seed=3).batch(16, 48, images_seen=0)
    shown = numbers(dataset, batch.image_BHWC)
    for i, label in zip(shown, batch.label_BL, strict=True):
        expected = np.zeros(5)
        expected[[i % 2, 2 + i % 3]] = 1
        np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize("balanced", [False, True])
def test_processes_take_rows_of_the_same_batch(dataset: Dataset, balanced: bool) -> None:
    sampler = Sampler(dataset, seed=0, mirror=True, balanced=balanced)
    whole, labels = sampler.batch(16, 8, images_seen=16), sampler.labels(8, images_seen=16)
    take = np.array([1, 6, 2])
    part = sampler.batch(16, 8, images_seen=16, take=take)
    np.testing.assert_array_equal(part.image_BHWC, whole.image_BHWC[take])
    np.testing.assert_array_equal(part.label_BL, whole.label_BL[take])
    np.testing.assert_array_equal(sampler.labels(8, images_seen=16, take=take), labels[take])


def test_held_out_pictures_are_never_trained_on_and_the_same_in_every_run(
    dataset: Dataset,
) -> None:
    one, other = Sampler(dataset, seed=0, holdout=4), Sampler(dataset, seed=1, holdout=4)
    held = set(numbers(dataset, one.held_out(16, 48, images_seen=0).image_BHWC))
    assert held == set(numbers(dataset, other.held_out(16, 48, images_seen=5).image_BHWC))
    assert len(held) == 4
    epoch = numbers(dataset, one.batch(16, 44, images_seen=0).image_BHWC)
    assert set(epoch) == set(range(48)) - held
    assert held.isdisjoint(numbers(dataset, one.reference(16, 48).image_BHWC))


def test_no_more_than_a_tenth_is_held_out(dataset: Dataset) -> None:
    assert len(Sampler(dataset, seed=0, holdout=500).held_out_rows) == 4


@pytest.fixture
def uneven(tmp_path: Path) -> Dataset:
    """Gender 0 on 40 pictures, 1 on 8."""
    dataset = Dataset(write_archive(tmp_path / "uneven.zip"))
    dataset.index_NA[:, 0] = np.arange(48) >= 40
    dataset.index_NA[:, 1] = 0
    return dataset


def test_a_balanced_draw_shows_rare_labels_as_often(uneven: Dataset) -> None:
    sampler = Sampler(uneven, seed=0, balanced=True)
    shown = Counter(numbers(uneven, sampler.batch(16, 96, images_seen=0).image_BHWC))
    rare = [count for i, count in shown.items() if i >= 40]
    assert sum(rare) == 48
    assert min(rare) == max(rare) == 6
    assert max(count for i, count in shown.items() if i < 40) <= 2
    drawn = sampler.labels(2000, images_seen=0).mean(axis=0)
    np.testing.assert_allclose(drawn[:2], 0.5, atol=0.05)
    np.testing.assert_allclose(sampler.mean_label_L, [0.5, 0.5, 1, 0, 0])


def test_labels_drawn_by_prior_fall_as_in_the_data(uneven: Dataset) -> None:
    sampler = Sampler(uneven, seed=0)
    drawn = sampler.labels(2000, images_seen=0).mean(axis=0)
    np.testing.assert_allclose(drawn[:2], [40 / 48, 8 / 48], atol=0.03)
    np.testing.assert_allclose(sampler.mean_label_L[:2], [40 / 48, 8 / 48], rtol=1e-6)
