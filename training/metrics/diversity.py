"""How unlike are the pictures of one label: mean distance of pairs, and repetitions among them.

Distances are taken between pictures of 16 px, as root mean square in shades of 0 … 255: light, pose
and background count, texture does not. They need no network, so that they can be taken while a
generator is trained. A collapsed generator makes pictures alike (the mean falls) or repeats itself
(repetitions: the birthday test of Arora and Zhang, arXiv 1706.08224).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError
from training.metrics.novelty import (
    distances_between,
    distances_in_pairs,
    nearest_other_distance,
)

SIDE = 16  # pixels at which pictures are compared
FEWEST = 8  # pictures of a label below which their mean distance says nothing
REAL_REPETITIONS = 0.02  # share of real pictures that count as repetitions, by definition

Labels = NDArray[np.int64] | NDArray[np.str_]


def thumbnails(image_NHWC: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.float64]:
    """Square pictures as points [N, side·side·3], box-filtered to `side` px.

    The Euclidean distance of two points is their root mean square difference in shades. Smaller
    pictures stay as they are. Raises EvaluationError unless their side is a multiple of `side`.
    """
    shade_NHWC = boxed(image_NHWC, side)
    shade_ND = shade_NHWC.reshape(len(shade_NHWC), -1)
    return shade_ND / np.sqrt(shade_ND.shape[1])


def boxed(image_NHWC: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """The means of whole boxes, `side` of them along each edge; raises as `thumbnails`."""
    n, height, width, channels = image_NHWC.shape
    side = min(side, height)
    if height != width or height % side:
        raise EvaluationError(
            f"Pictures of {height}×{width} px cannot be brought to {side} px by whole boxes: use "
            "square ones whose side is a power of two."
        )
    factor = height // side
    blocks = image_NHWC.reshape(n, side, factor, side, factor, channels)
    means: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return means


def distances_to_sources(
    image_NHWC: NDArray[np.uint8], source_NHWC: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """From each picture, mirrored or not, whichever is nearer, to the source in its place, [N]."""
    source_ND = thumbnails(source_NHWC)
    views = (image_NHWC, image_NHWC[:, :, ::-1])
    nearer_N: NDArray[np.float64] = np.min(
        [distances_in_pairs(thumbnails(view), source_ND) for view in views], axis=0
    )
    return nearer_N


def mean_distance(point_ND: NDArray[np.float64]) -> float:
    """Mean distance of all pairs of different members; needs two or more."""
    n = len(point_ND)
    if n < 2:
        raise EvaluationError(f"{n} picture has no other to differ from: measure two or more.")
    return float(distances_between(point_ND, point_ND).sum() / (n * (n - 1)))


def distance_by_label(
    point_ND: NDArray[np.float64], label_N: Labels, fewest: int = FEWEST
) -> dict[str, float]:
    """Mean distance within each label that has at least `fewest` pictures, keyed by its name."""
    rows = {str(label): np.flatnonzero(label_N == label) for label in np.unique(label_N)}
    return {
        label: mean_distance(point_ND[rows_M])
        for label, rows_M in rows.items()
        if len(rows_M) >= fewest
    }


def value_names(
    index_NA: NDArray[np.int64], values: Mapping[str, Sequence[str]]
) -> Iterator[NDArray[np.str_]]:
    """For each attribute, every picture's label in words, "gender=female", [N]."""
    for column, (attribute, names) in enumerate(values.items()):
        words = np.array([f"{attribute}={name}" for name in names])
        yield words[index_NA[:, column]]


def repetition_radius(real_ND: NDArray[np.float64]) -> float:
    """The distance within which two members of a space count as the same picture.

    Data sets hold near-repetitions too: by definition, 2 % of the real pictures have another one
    within it.
    """
    return float(np.quantile(nearest_other_distance(real_ND), REAL_REPETITIONS))


def repetition_share(point_ND: NDArray[np.float64], radius: float) -> float:
    """Share of the members with another within the radius.

    That half of all sets of s samples hold a repetition points to about s² different pictures.
    """
    return float(np.mean(nearest_other_distance(point_ND) <= radius))
