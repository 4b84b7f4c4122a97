"""Against Gaussians whose distance is known in closed form."""

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from training.errors import EvaluationError
from training.metrics.frechet import frechet_distance


def gaussian(mean: np.ndarray, covariance: np.ndarray, n: int = 400, seed: int = 0) -> np.ndarray:
    """A set whose own mean and covariance are exactly those given."""
    raw = np.random.default_rng(seed).standard_normal((n, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def random_covariance(size: int, seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return factor @ factor.T + 0.1 * np.eye(size)


def test_means_apart_count_squared() -> None:
    a = gaussian(np.zeros(3), np.eye(3), seed=1)
    b = gaussian(np.array([1.0, 2.0, 2.0]), np.eye(3), seed=2)
    assert frechet_distance(a, b) == pytest.approx(9)


def test_independent_features_add_up() -> None:
    a = gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]), seed=1)
    b = gaussian(np.zeros(3), np.diag([4.0, 4.0, 1.0]), seed=2)
    assert frechet_distance(a, b) == pytest.approx(1 + 0 + 4)  # sum of (σa − σb)²


def test_correlated_features_in_two_dimensions() -> None:
    covariance_a, covariance_b = random_covariance(2, 1), random_covariance(2, 2)
    # For 2×2 matrices tr √M = √(tr M + 2 √det M).
    product = covariance_a @ covariance_b
    root_trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(covariance_a) + np.trace(covariance_b) - 2 * root_trace
    a, b = gaussian(np.zeros(2), covariance_a, seed=3), gaussian(np.zeros(2), covariance_b, seed=4)
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_a_set_is_at_no_distance_from_itself() -> None:
    a = np.random.default_rng(0).standard_normal((300, 128)).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_agrees_with_torchmetrics() -> None:
    a = gaussian(np.zeros(40), random_covariance(40, 1), seed=1)
    b = gaussian(np.full(40, 0.3), random_covariance(40, 2), seed=2)
    moments = [
        torch.from_numpy(moment)
        for points in (a, b)
        for moment in (points.mean(axis=0), np.cov(points, rowvar=False))
    ]
    assert frechet_distance(a, b) == pytest.approx(float(_compute_fid(*moments)), rel=1e-9)


def test_fewer_pictures_than_features() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 128))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(a, b) > 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_a_common_rotation_and_shift_change_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((100, 6)), rng.standard_normal((100, 6)) * 2 + 1
    rotation, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    assert frechet_distance(a @ rotation + 1e3, b @ rotation + 1e3) == pytest.approx(
        frechet_distance(a, b)
    )


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "two or more pictures"),
        (np.zeros((5, 4)), np.full((5, 4), np.nan), "finite"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "two extractors"),
    ],
)
def test_what_cannot_be_compared(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        frechet_distance(a, b)
