"""Fréchet distance between two sets of features, each taken as a Gaussian.

It knows nothing of where features come from; values from different extractors, or from different
numbers of pictures, cannot be compared.
"""

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError


def frechet_distance(a_NE: NDArray[np.floating], b_ME: NDArray[np.floating]) -> float:
    """|mean difference|² + trace(Σa + Σb − 2 (Σa Σb)^½), in float64; never negative.

    The root is taken through two symmetric eigenproblems, which also hold where a covariance is
    singular, as it is with fewer pictures than features. Raises EvaluationError for sets that
    have fewer than two members, differ in length of features or are not finite.
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
    a_NE, b_ME = a_NE.astype(np.float64), b_ME.astype(np.float64)
    mean_difference_E = a_NE.mean(axis=0) - b_ME.mean(axis=0)
    covariance_a = np.atleast_2d(np.cov(a_NE, rowvar=False))
    covariance_b = np.atleast_2d(np.cov(b_ME, rowvar=False))
    root_a = _symmetric_root(covariance_a)
    product = root_a @ covariance_b @ root_a  # has the eigenvalues of Σa Σb, and is symmetric
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)
    distance = (
        mean_difference_E @ mean_difference_E
        + np.trace(covariance_a)
        + np.trace(covariance_b)
        - 2 * np.sqrt(eigenvalues).sum()
    )
    return max(float(distance), 0.0)


def _symmetric_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(eigenvalues.clip(min=0))) @ vectors.T
