"""Against torchmetrics, and against what is known of an unbiased estimate."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from training.errors import EvaluationError
from training.metrics.kid import kernel_distance


def features(seed: int, n: int = 60, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 12)) + shift


def test_agrees_with_torchmetrics() -> None:
    a, b = features(0), features(1, shift=0.4)
    expected = float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_two_samples_of_one_distribution_are_at_no_distance_on_average() -> None:
    distances = [kernel_distance(features(2 * i), features(2 * i + 1)) for i in range(60)]
    assert min(distances) < 0 < max(distances)
    assert abs(np.mean(distances)) < 3 * np.std(distances) / np.sqrt(60)
    assert kernel_distance(features(0), features(1, shift=1)) > 10 * np.std(distances)


def test_subsets_give_the_same_on_average_whatever_their_size() -> None:
    a, b = features(0, n=300), features(1, n=200, shift=0.5)
    small, large = (kernel_distance(a, b, subsets=200, subset_size=size) for size in (20, 150))
    assert small == pytest.approx(large, rel=0.15)
    assert kernel_distance(a, b, subset_size=20) == kernel_distance(a, b, subset_size=20)


@pytest.mark.parametrize(("a", "b"), [((1, 4), (5, 4)), ((5, 4), (5, 3))])
def test_what_cannot_be_compared(a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(EvaluationError, match="features of one extractor"):
        kernel_distance(np.zeros(a), np.zeros(b))
