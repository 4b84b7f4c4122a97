"""Fréchet distance between two sets of features, each taken as a Gaussian.

It knows nothing of where features come from; values from different extractors, or from different
numbers of pictures, cannot be compared.
"""

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError


def frechet_distance(a_NE: NDArray[np.floating], b_ME: NDArray[np.floating]) -> float:
    """|mean difference|² + trace(Σa + Σb − 2 (Σa Σb)^½), in float64; never negative.

    With factors Fᵀ F = Σ, which QR gives, the trace of the root is the sum of the singular values
    of Fa Fbᵀ. So no root of a matrix is taken, and singular covariances, as of fewer pictures than
    features, need no care. Raises EvaluationError for sets that have fewer than two members, differ
    in length of features or are not finite.
    """
    for features in (a_NE, b_ME):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise EvaluationError(
                f"A Fréchet distance needs finite features of two or more pictures, not an array "
                f"of shape {features.shape}: measure more samples."
            )
    if a_NE.shape[1] != b_ME.shape[1]:
        raise EvaluationError(
            f"Features of length {a_NE.shape[1]} and {b_ME.shape[1]} are of two extractors: use "
            "the same for both sets."
        )
    mean_difference_E = a_NE.mean(axis=0, dtype=np.float64) - b_ME.mean(axis=0, dtype=np.float64)
    factor_a, factor_b = _covariance_factor(a_NE), _covariance_factor(b_ME)
    distance = (
        mean_difference_E @ mean_difference_E
        + (factor_a**2).sum()
        + (factor_b**2).sum()
        - 2 * np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    )
    return max(float(distance), 0.0)


def _covariance_factor(point_NE: NDArray[np.floating]) -> NDArray[np.float64]:
    """F with Fᵀ F the covariance, at most E rows."""
    centred_NE = point_NE - point_NE.mean(axis=0, dtype=np.float64)
    return np.linalg.qr(centred_NE, mode="r") / np.sqrt(len(point_NE) - 1)
