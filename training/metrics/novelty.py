"""Are the faces new, and unlike each other: nearest neighbours among embeddings.

Faces nearer to training faces than real ones are to other real ones would be copies; faces nearer
to each other than real ones are would be too few different ones. Embedding a whole training set
takes too long, so its likely sources are found by pixels first: a copy of an aligned face is near
in both. It knows nothing of the extractor.
"""

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]


def distances_between(a_NE: NDArray[np.float64], b_ME: NDArray[np.float64]) -> Distances:
    """Euclidean distance of every pair, [N, M]."""
    squares = (a_NE**2).sum(axis=1)[:, None] + (b_ME**2).sum(axis=1)[None]
    return np.sqrt((squares - 2 * a_NE @ b_ME.T).clip(min=0))


def distances_in_pairs(a_NE: NDArray[np.float64], b_NE: NDArray[np.float64]) -> Distances:
    """From each member of a to the one in the same place of b, [N]."""
    return np.linalg.norm(a_NE - b_NE, axis=1)


def nearest_distance(a_NE: NDArray[np.float64], b_ME: NDArray[np.float64]) -> Distances:
    """From each member of a to its nearest of b, [N]."""
    return distances_between(a_NE, b_ME).min(axis=1)


def nearest_other_distance(a_NE: NDArray[np.float64]) -> Distances:
    """From each member of a set to its nearest other one, [N]. Small ones are repetitions."""
    distance_NN = distances_between(a_NE, a_NE)
    np.fill_diagonal(distance_NN, np.inf)
    return distance_NN.min(axis=1)


def likely_sources(
    image_NHWC: NDArray[np.uint8],
    training_MHWC: NDArray[np.uint8],
    *,
    itself_N: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Index of the training picture nearest in pixels, mirrored or not, for each picture, [N].

    Small pictures do, 16 px or so. `itself_N` gives the index of pictures that are themselves in
    the training set, which is passed over.
    """
    # One product per orientation; |a|² is the same for all candidates and drops out.
    training_MX = _flat(training_MHWC)
    cost_M = (training_MX**2).sum(axis=1)
    views = (image_NHWC, image_NHWC[:, :, ::-1])
    cost_NM = np.min([cost_M - 2 * _flat(view) @ training_MX.T for view in views], axis=0)
    if itself_N is not None:
        cost_NM[np.arange(len(itself_N)), itself_N] = np.inf
    return cost_NM.argmin(axis=1)


def _flat(image_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    return image_NHWC.reshape(len(image_NHWC), -1).astype(np.float32) / np.float32(255)
