"""A set of pictures with all that was seen in it, and one figure measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics.features import FaceFeatures


@dataclass(frozen=True)
class Embedding:
    """Pictures as points in the space of a named extractor."""

    point_NE: NDArray[np.float64]
    extractor: str
    comparable: bool  # with published figures: so its numbers are taken as they are


@dataclass(frozen=True)
class PictureSet:
    """Pictures, their labels, what the judges saw in them, and the faces they may be copies of."""

    image_NHWC: NDArray[np.uint8]
    index_NA: NDArray[np.int64]  # value indices, in the order of `values`
    values: Mapping[str, tuple[str, ...]]  # attribute → its values
    source_shades_M: NDArray[np.float64]  # from the first M to their likely sources, in pixels
    faces: FaceFeatures | None  # None without the extra
    source_ME: NDArray[np.float64] | None  # embedding of the likely source of each of the first M
    embeddings: Mapping[str, Embedding]  # by the noun that stands in the table


@dataclass(frozen=True)
class Figure:
    """One measure of one set."""

    name: str
    value: float
    samples: int
    better: str  # "higher", "lower", or "as real": far from the baseline either way is bad
    method: str
