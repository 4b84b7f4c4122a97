"""Sets of which the shares that lie in one another are known."""

import numpy as np
import pytest

from training.errors import EvaluationError
from training.metrics.manifold import precision_and_recall


def cloud(seed: int, n: int = 400, centre: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3)) + centre


def test_a_line_worked_out_by_hand() -> None:
    # Radii to the nearest other: 1 for real 0, 1 and 10 → 9; generated 2.5 and 3 → 0.5, 30 → 27.
    real, generated = np.array([[0.0], [1], [10]]), np.array([[2.5], [3.0], [30]])
    precision, recall = precision_and_recall(generated, real, neighbours=1)
    assert precision == pytest.approx(2 / 3)  # 2.5 and 3 are within 9 of 10; 30 is not
    assert recall == pytest.approx(1 / 3)  # only 10 is within 27 of 30


def test_one_distribution_covers_itself() -> None:
    assert min(precision_and_recall(cloud(0), cloud(1))) > 0.8


def test_good_pictures_of_half_of_the_modes_have_half_of_the_recall() -> None:
    both = np.concatenate([cloud(0), cloud(1, centre=20)])
    precision, recall = precision_and_recall(cloud(2, n=800), both)
    assert precision > 0.8
    assert recall == pytest.approx(0.5, abs=0.1)


def test_half_of_the_pictures_are_bad() -> None:
    precision, recall = precision_and_recall(
        np.concatenate([cloud(0), cloud(1, centre=20)]), cloud(2, n=800)
    )
    assert precision == pytest.approx(0.5, abs=0.1)
    assert recall > 0.8


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(EvaluationError, match="3 neighbours of each picture, and 3 pictures"):
        precision_and_recall(cloud(0, n=3), cloud(1))
