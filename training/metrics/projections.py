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
    direction_EK = rng.standard_normal((a_NE.shape[1], directions))
    projected = zip((a_NE @ direction_EK).T, (b_ME @ direction_EK).T, strict=True)
    rejected = [stats.ks_2samp(a_N, b_M, method="asymp").pvalue < level for a_N, b_M in projected]
    return float(np.mean(rejected))
