"""A set of pictures → what the independent judges see in each, once, for all measures that use it.

Looking takes a tenth of a second a picture, so what was seen in real pictures can be kept on disk,
under the hash of their pixels.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.metrics.faces import embed_face, find_face
from training.metrics.labels import judge_face

VERSION = 1  # to be raised when faces.py or labels.py look differently

Advance = Callable[[], None]  # called after each picture


@dataclass(frozen=True)
class FaceFeatures:
    """One row per picture of a set."""

    found_N: NDArray[np.bool_]
    embedding_NE: NDArray[np.float64]
    female_N: NDArray[np.float64]  # probability
    age_N: NDArray[np.float64]  # years


def face_features(
    image_NHWC: NDArray[np.uint8], *, advance: Advance, folder: Path | None = None
) -> FaceFeatures:
    """Looks at every picture; with a folder, keeps what it saw there and finds it again.

    Raises EvaluationError without the extra `eval`. A folder that cannot be used is no error.
    """
    if folder is None:
        return _look(image_NHWC, advance)
    pixels = hashlib.sha256(np.ascontiguousarray(image_NHWC).tobytes()).hexdigest()
    path = folder / f"{VERSION}-{image_NHWC.shape[1]}-{pixels[:32]}.npz"
    features = _read(path)
    if features is None:
        features = _look(image_NHWC, advance)
        _write(path, features)
    else:
        for _ in image_NHWC:
            advance()
    return features


def _look(image_NHWC: NDArray[np.uint8], advance: Advance) -> FaceFeatures:
    found, embeddings, judgements = [], [], []
    for image_HWC in image_NHWC:
        face = find_face(image_HWC)
        found.append(face.found)
        embeddings.append(embed_face(face))
        judgements.append(judge_face(face))
        advance()
    female_N, age_N = np.array(judgements, np.float64).T
    return FaceFeatures(np.array(found), np.stack(embeddings), female_N, age_N)


def _read(path: Path) -> FaceFeatures | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return FaceFeatures(**arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, features: FaceFeatures) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **asdict(features))
        partial.replace(path)
    except OSError:  # it will be looked at again, no more
        with contextlib.suppress(OSError):
            partial.unlink()
