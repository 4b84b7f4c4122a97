"""Is there a face, and whose is it like: dlib's HOG detector and its 128-number embedding.

Both were made for larger pictures: at 64 px the detector misses every third face. So each picture
is first enlarged to 256 px, where it finds 99 % of real ones and none in shuffled pixels. Where it
finds none, the whole picture counts as the face, which holds for aligned and cropped ones.

It knows nothing of labels or of how the pictures were made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.metrics.extras import package_folder, require

SIDE = 256  # pixels to which every picture is brought
MARGIN = 64  # of mirrored picture around it, so that a face near the edge is not cut off
CHIP_SIDE, CHIP_PADDING = 150, 0.25  # what the embedding was trained on
EMBEDDING_LENGTH = 128


@dataclass(frozen=True)
class Face:
    """A picture, enlarged, with the box in which its largest face was found, or all of it."""

    image_HWC: NDArray[np.uint8]
    box: tuple[int, int, int, int]  # left, top, right, bottom; inclusive
    found: bool

    def with_margin(self) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        """The picture with a mirrored margin, and the box in it."""
        around = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
        left, top, right, bottom = (edge + MARGIN for edge in self.box)
        return np.pad(self.image_HWC, around, mode="reflect"), (left, top, right, bottom)

    def mirrored(self) -> "Face":
        """The same face seen in a mirror."""
        left, top, right, bottom = self.box
        box = (SIDE - 1 - right, top, SIDE - 1 - left, bottom)
        return Face(np.ascontiguousarray(self.image_HWC[:, ::-1]), box, self.found)


def find_face(image_HWC: NDArray[np.uint8]) -> Face:
    """The largest face in an RGB picture. Raises EvaluationError without the extra `eval`."""
    enlarged = Image.fromarray(image_HWC).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    image_HWC = np.array(enlarged)
    boxes = _detector()(image_HWC, 0)
    if not boxes:
        return Face(image_HWC, (0, 0, SIDE - 1, SIDE - 1), found=False)
    box = max(boxes, key=lambda box: box.area())
    return Face(image_HWC, (box.left(), box.top(), box.right(), box.bottom()), found=True)


def embed_face(face: Face) -> NDArray[np.float64]:
    """The face as a point, [E]: two photographs of one person are mostly within 0.6."""
    dlib = require("dlib")
    image_HWC, box = face.with_margin()
    landmarks = _landmark_predictor()(image_HWC, dlib.rectangle(*box))
    chip_HWC = dlib.get_face_chip(image_HWC, landmarks, CHIP_SIDE, CHIP_PADDING)
    return np.array(_embedder().compute_face_descriptor(chip_HWC), np.float64)


def face_rate(faces: Sequence[Face]) -> float:
    """Share of the pictures in which a face was found."""
    return float(np.mean([face.found for face in faces]))


@cache
def _detector() -> Any:
    return require("dlib").get_frontal_face_detector()


@cache
def _landmark_predictor() -> Any:
    return require("dlib").shape_predictor(_weights("shape_predictor_5_face_landmarks"))


@cache
def _embedder() -> Any:
    return require("dlib").face_recognition_model_v1(
        _weights("dlib_face_recognition_resnet_model_v1")
    )


def _weights(name: str) -> str:
    # The package's own functions for this import pkg_resources, which setuptools has dropped.
    return str(package_folder("face_recognition_models") / "models" / f"{name}.dat")
