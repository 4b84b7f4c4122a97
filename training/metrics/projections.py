"""Can two sets be told apart in one dimension: random projections, each with a statistical test.

Both sets are projected on random directions, and a two-sample Kolmogorov-Smirnov test asks of each
whether the two samples may come from one distribution. Two sets of one distribution are told apart
in about 5 % of the directions; equal distributions would be so in all of them (Cramér and Wold).
The directions are not independent, so the share varies more than a count of coins would: it is read
beside that of two real sets. It knows nothing of where features come from.
"""

import numpy as np
from numpy.typing import NDArray

from training.metrics.extras import require

DIRECTIONS = 500
LEVEL = 0.05


def rejected_share(
    a_NE: NDArray[np.float64],
    b_ME: NDArray[np.float64],
    *,
    directions: int = DIRECTIONS,
    level: float = LEVEL,
    seed: int = 0,
) -> float:
    """Share of the directions in which the sets differ at that level of significance.

    Raises EvaluationError without SciPy, which comes with the extra `eval`.
    """
    stats = require("scipy.stats")
    rng = np.random.default_rng(seed)
    direction_KE = rng.standard_normal((a_NE.shape[1], directions)).T
    distance_K = largest_gap(direction_KE @ a_NE.T, direction_KE @ b_ME.T)
    n, m = len(a_NE), len(b_ME)
    chance_K = stats.kstwo.sf(distance_K, round(n * m / (n + m)))
    return float(np.mean(chance_K < level))


def largest_gap(a_KN: NDArray[np.float64], b_KM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kolmogorov-Smirnov statistic of each row, [K]: by how much one set lags in rank, at most."""
    n, m = a_KN.shape[1], b_KM.shape[1]
    value_KS = np.concatenate([a_KN, b_KM], axis=1)
    order_KS = value_KS.argsort(axis=1)
    gap_KS = np.where(order_KS < n, 1 / n, -1 / m).cumsum(axis=1)
    value_KS = np.take_along_axis(value_KS, order_KS, axis=1)
    tied_KS = np.zeros(gap_KS.shape, np.bool_)  # with the next one: the shares meet after the last
    tied_KS[:, :-1] = value_KS[:, :-1] == value_KS[:, 1:]
    return np.where(tied_KS, 0.0, np.abs(gap_KS)).max(axis=1)
