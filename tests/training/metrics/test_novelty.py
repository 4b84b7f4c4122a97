"""Nearest neighbours, and the search for what a picture may be a copy of."""

import numpy as np

from training.metrics.novelty import (
    distances_between,
    likely_sources,
    nearest_distance,
    nearest_other_distance,
)


def test_distances_are_euclidean() -> None:
    a = np.array([[0.0, 0.0], [3.0, 0.0]])
    b = np.array([[0.0, 4.0], [3.0, 1.0], [0.0, 0.0]])
    assert np.allclose(distances_between(a, b), [[4, np.sqrt(10), 0], [5, 1, 3]])
    assert np.allclose(nearest_distance(a, b), [0, 1])


def test_nearest_other_passes_over_itself_but_not_over_repetitions() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0], [5.0, 4.0]])
    assert np.allclose(nearest_other_distance(points), [2, 0, 0, 5])


def test_copies_are_traced_noisy_or_mirrored() -> None:
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    noisy = np.clip(training[[7, 30]] + rng.normal(0, 20, (2, 16, 16, 3)), 0, 255)
    copies = np.concatenate([noisy.astype(np.uint8), training[[12]][:, :, ::-1]])
    assert likely_sources(copies, training).tolist() == [7, 30, 12]


def test_a_training_picture_is_not_its_own_source() -> None:
    training = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    training[11] = training[3]
    rows = np.array([3, 5])
    sources = likely_sources(training[rows], training, itself_N=rows)
    assert sources[0] == 11
    assert sources[1] != 5
