"""Kernel distance between two sets of features: squared maximum mean discrepancy, unbiased.

As in KID (Bińkowski et al., arXiv 1801.01401): cubic kernel (x·y / E + 1)³, mean over subsets.
Unlike a Fréchet distance it assumes no Gaussian and is not biased by the number of pictures, so
that it may come out slightly below zero. It knows nothing of where features come from.
"""

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError

SUBSETS, SUBSET_SIZE = 100, 1000


def kernel_distance(
    a_NE: NDArray[np.floating],
    b_ME: NDArray[np.floating],
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> float:
    """Mean over random subsets of equal size; sets no larger than one subset are taken whole.

    Raises EvaluationError for sets with fewer than two members or unlike features.
    """
    if min(len(a_NE), len(b_ME)) < 2 or a_NE.shape[1:] != b_ME.shape[1:]:
        raise EvaluationError(
            f"A kernel distance needs two or more pictures in each set and features of one "
            f"extractor, not arrays of shape {a_NE.shape} and {b_ME.shape}: measure more samples."
        )
    size = min(subset_size, len(a_NE), len(b_ME))
    if len(a_NE) == len(b_ME) == size:
        return _discrepancy(a_NE, b_ME)
    rng = np.random.default_rng(seed)
    return float(
        np.mean(
            [
                _discrepancy(
                    a_NE[rng.choice(len(a_NE), size, replace=False)],
                    b_ME[rng.choice(len(b_ME), size, replace=False)],
                )
                for _ in range(subsets)
            ]
        )
    )


def _discrepancy(a_NE: NDArray[np.floating], b_NE: NDArray[np.floating]) -> float:
    within = sum(_mean_of_different(_kernel(x_NE, x_NE)) for x_NE in (a_NE, b_NE))
    return float(within - 2 * _kernel(a_NE, b_NE).mean())


def _mean_of_different(kernel_NN: NDArray[np.float64]) -> float:
    n = len(kernel_NN)
    return float((kernel_NN.sum() - np.trace(kernel_NN)) / (n * (n - 1)))


def _kernel(a_NE: NDArray[np.floating], b_ME: NDArray[np.floating]) -> NDArray[np.float64]:
    products = a_NE.astype(np.float64) @ b_ME.astype(np.float64).T
    return (products / a_NE.shape[1] + 1) ** 3
