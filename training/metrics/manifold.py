"""Precision and recall of a set against another, by the balls that its members' neighbours span.

Kynkäänniemi et al., arXiv 1904.06991: a set's manifold is the union of balls around its members,
each reaching to its third nearest other member. Precision is the share of generated pictures within
the real manifold (do they look real), recall that of real ones within the generated manifold (is
everything there). It knows nothing of where features come from.
"""

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError
from training.metrics.novelty import distances_between

NEIGHBOURS = 3


def precision_and_recall(
    generated_NE: NDArray[np.float64], real_ME: NDArray[np.float64], *, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Both in 0 … 1. They change with the number of pictures: compare at equal ones.

    Raises EvaluationError for sets that do not have more members than neighbours.
    """
    if min(len(generated_NE), len(real_ME)) <= neighbours:
        raise EvaluationError(
            f"Precision and recall look at {neighbours} neighbours of each picture, and "
            f"{min(len(generated_NE), len(real_ME))} pictures do not have as many: measure more."
        )
    distance_NM = distances_between(generated_NE, real_ME)
    within_real = distance_NM <= _radii(real_ME, neighbours)[None]
    within_generated = distance_NM <= _radii(generated_NE, neighbours)[:, None]
    return float(within_real.any(axis=1).mean()), float(within_generated.any(axis=0).mean())


def _radii(point_NE: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """From each member to its k-th nearest other one."""
    distance_NN = distances_between(point_NE, point_NE)
    np.fill_diagonal(distance_NN, np.inf)
    return np.partition(distance_NN, neighbours - 1, axis=1)[:, neighbours - 1]
