"""One distribution is told apart as often as the level says; two are, where they differ."""

import numpy as np
import pytest
from scipy import stats

from training.errors import EvaluationError
from training.metrics.projections import largest_gap, rejected_share


def points(seed: int, spread: float = 1.0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((200, 400))


def test_agrees_with_scipy_ties_and_unequal_numbers_included() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (20, 3)).astype(float), rng.integers(0, 10, (13, 3)).astype(float)
    expected = [stats.ks_2samp(a[:, i], b[:, i]).statistic for i in range(3)]
    assert largest_gap(a.T, b.T) == pytest.approx(expected)
    a, b = rng.standard_normal((60, 6)), rng.standard_normal((40, 6)) * 1.7
    directions = np.random.default_rng(7).standard_normal((6, 50))
    chances = [
        stats.ks_2samp(a @ direction, b @ direction, method="asymp").pvalue
        for direction in directions.T
    ]
    share = rejected_share(a, b, directions=50, level=0.1, seed=7)
    assert share == np.mean(np.array(chances) < 0.1)
    assert 0.1 < share < 0.9


def test_one_distribution_is_told_apart_in_about_one_of_twenty() -> None:
    shares = [rejected_share(points(2 * i), points(2 * i + 1), directions=100) for i in range(4)]
    assert 0.01 < np.mean(shares) < 0.12


def test_another_spread_is_seen_in_every_direction() -> None:
    assert rejected_share(points(0), points(1, spread=2), directions=100) > 0.95


def test_a_shift_is_seen_in_the_directions_that_have_part_in_it() -> None:
    shifted = points(1)
    shifted[:, 0] += 10
    share = rejected_share(points(0), shifted, directions=200)
    assert 0.2 < share < 0.9
    assert share == rejected_share(points(0), shifted, directions=200)


def test_scipy_is_named_when_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.stats", None)
    with pytest.raises(EvaluationError, match=r"scipy\.stats, which is not installed"):
        rejected_share(points(0), points(1))
