"""One distribution is told apart as often as the level says; two are, where they differ."""

import numpy as np
import pytest

from training.errors import EvaluationError
from training.metrics.projections import rejected_share


def points(seed: int, spread: float = 1.0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((200, 400))


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
