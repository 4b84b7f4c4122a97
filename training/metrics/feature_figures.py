"""Two sets as points in an extractor's space: how far apart, how much of each in the other."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.metrics.diversity import repetition_radius, repetition_share
from training.metrics.extras import missing
from training.metrics.figure import Embedding, Figure
from training.metrics.frechet import frechet_distance
from training.metrics.kid import kernel_distance
from training.metrics.manifold import precision_and_recall
from training.metrics.projections import rejected_share

FACES = "faces"  # whose Fréchet distance is so small that it is told in thousandths


def feature_figures(noun: str, of: Embedding, reference: Embedding) -> Iterator[Figure]:
    """Every measure of one extractor's features."""
    point_NE, real_ME = of.point_NE, reference.point_NE
    count = len(point_NE)
    distance = frechet_distance(point_NE, real_ME)
    name = f"Fréchet distance of {noun}"
    if noun == FACES:
        name, distance = f"{name} ×10³", 1e3 * distance
    yield Figure(name, distance, count, "lower", of.extractor)
    unit = 1.0 if of.comparable else float(np.sqrt(np.mean(real_ME**2)))
    scaling = "" if of.comparable else ", scaled to a mean square of 1"
    yield Figure(
        f"kernel distance (KID) of {noun} ×10³",
        1e3 * kernel_distance(point_NE / unit, real_ME / unit),
        count,
        "lower",
        f"{of.extractor}{scaling}; cubic kernel, unbiased",
    )
    precision, recall = precision_and_recall(point_NE, real_ME)
    for measure, share in (("precision", precision), ("recall", recall)):
        yield Figure(
            f"{measure} of {noun}", share, count, "higher", f"{of.extractor}; 3 nearest neighbours"
        )
    yield from told_apart(noun, point_NE, real_ME, of.extractor)
    yield repetitions(noun, point_NE, real_ME, of.extractor)


def told_apart(
    noun: str, point_NE: NDArray[np.float64], real_ME: NDArray[np.float64], extractor: str
) -> Iterator[Figure]:
    """The random-projection test; none without SciPy."""
    if missing("scipy") is not None:
        return
    yield Figure(
        f"random projections of {noun} told apart, %",
        100 * rejected_share(point_NE, real_ME),
        len(point_NE),
        "as real",
        f"{extractor}; 500 directions, Kolmogorov-Smirnov at 5 %",
    )


def repetitions(
    noun: str, point_NE: NDArray[np.float64], real_ME: NDArray[np.float64], extractor: str
) -> Figure:
    """The birthday test: is any picture there twice."""
    return Figure(
        f"repetitions among {noun}, %",
        100 * repetition_share(point_NE, repetition_radius(real_ME)),
        len(point_NE),
        "as real",
        f"{extractor}; another sample so near as 2 % of the reference have one",
    )
