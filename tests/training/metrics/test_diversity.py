"""Distances whose value is known, labels that are few or alike, and repetitions."""

import numpy as np
import pytest

from training.errors import EvaluationError
from training.metrics.diversity import (
    distance_by_label,
    mean_distance,
    repetition_radius,
    repetition_share,
    thumbnails,
    value_names,
)


def test_distance_is_in_shades() -> None:
    flat = np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in (10, 40, 70)])
    points = thumbnails(flat)
    assert points.shape == (3, 16 * 16 * 3)
    assert mean_distance(points) == pytest.approx((30 + 30 + 60) / 3)
    assert mean_distance(thumbnails(flat[:, :8, :8])) == pytest.approx(40)


def test_fine_texture_is_not_seen() -> None:
    chequered = np.indices((64, 64)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
    textures = np.stack([chequered, 255 - chequered]).astype(np.uint8)
    assert mean_distance(thumbnails(textures)) == pytest.approx(0)


def test_a_label_that_collapsed_is_named() -> None:
    points = np.random.default_rng(0).standard_normal((40, 5))
    label_N = np.array(["old", "young", "young", "young"] * 10)
    points[label_N == "old"] = 1.0
    distances = distance_by_label(points, label_N)
    assert distances["old"] == pytest.approx(0, abs=1e-6)
    assert distances["young"] > 1
    assert list(distance_by_label(points, label_N, fewest=11)) == ["young"]


def test_labels_are_put_into_words() -> None:
    index_NA = np.array([[0, 1], [1, 1]])
    gender, age = value_names(index_NA, {"gender": ("male", "female"), "age": ("0-9", "10+")})
    assert gender.tolist() == ["gender=male", "gender=female"]
    assert age.tolist() == ["age=10+", "age=10+"]


def test_repetitions_are_counted_against_those_of_real_pictures() -> None:
    rng = np.random.default_rng(0)
    real, other, few = rng.standard_normal((3, 300, 4))
    radius = repetition_radius(real)
    assert repetition_share(real, radius) == pytest.approx(0.02, abs=0.005)
    assert repetition_share(other, radius) < 0.06
    repeated = few[rng.integers(0, 100, 300)]  # only a hundred different ones
    assert repetition_share(repeated, radius) > 0.8


@pytest.mark.parametrize("shape", [(2, 24, 24, 3), (2, 32, 16, 3)])
def test_sizes_that_cannot_be_compared(shape: tuple[int, ...]) -> None:
    with pytest.raises(EvaluationError, match="cannot be brought to 16 px"):
        thumbnails(np.zeros(shape, np.uint8))


def test_one_picture_is_not_diverse() -> None:
    with pytest.raises(EvaluationError, match="no other to differ from"):
        mean_distance(np.zeros((1, 3)))
