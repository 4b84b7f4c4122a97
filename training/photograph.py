"""A photograph → a checked target for projection; what was found → pictures and a latent file.

Where the extra `eval` is installed, dlib says whether there is a face; without it only what pixels
alone can tell is checked. Knows nothing about how the latent is found.
"""

import json
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import DatasetError, EvaluationError
from training.grids import grid, png_bytes, with_caption
from training.metrics.faces import embed_face, find_face
from training.pictures import read_picture
from training.projection import Projection

LONGEST_SIDES = 1.5  # of a face crop, as a ratio; beyond, the centre square is no face
SMALLEST_FACE = 0.35  # of the picture's side; in aligned crops a face takes more than half
FLAT = 4.0  # standard deviation of grey levels below which a picture shows nothing
SHOWN_SIDE = 192  # pixels, at least, of each picture in the side-by-side


def read_photograph(path: Path, resolution: int, *, check_face: bool = True) -> NDArray[np.uint8]:
    """The photograph's centre square at `resolution`, [R, R, 3] RGB.

    Raises DatasetError, saying what to give instead, for what is no picture, smaller than that, or
    (unless `check_face` is off) no crop of one face.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror or error}): name a picture file"
        ) from error
    picture = read_picture(data, resolution)
    if isinstance(picture, str):
        raise DatasetError(f"{path} cannot be used ({picture}): give a JPEG, PNG or WebP picture")
    width, height = picture.size
    if min(width, height) < resolution:
        raise DatasetError(
            f"{path} is {width}×{height} px and the model makes {resolution} px: give a larger one"
        )
    image_HWC = np.array(picture.image)
    if check_face and (why := _no_face_crop(image_HWC, width, height)):
        raise DatasetError(
            f"{path} {why}: crop it to one upright face from hair to chin, as the model was "
            "trained on, or pass --unchecked"
        )
    return image_HWC


def projection_files(projection: Projection, target_HWC: NDArray[np.uint8]) -> dict[str, bytes]:
    """What to keep of a projection: file name → bytes.

    `latent.json` is, as it is, a body of the service's `POST /v1/faces`.
    """
    scale = ceil(SHOWN_SIDE / target_HWC.shape[0])
    shown = {
        "target": target_HWC,
        "best random start": projection.start_HWC,
        "projection": projection.image_HWC,
    }
    captioned = [
        np.asarray(with_caption(grid(image[None], 1, scale), caption))
        for caption, image in shown.items()
    ]
    side_by_side = grid(np.stack(captioned), len(captioned))
    strip = grid(np.stack(projection.progress), len(projection.progress), ceil(scale / 2))
    body = {"latents": [projection.z_Z.tolist()], "labels": projection.labels}
    return {
        "projection.png": png_bytes(side_by_side),
        "progress.png": png_bytes(strip),
        "latent.json": (json.dumps(body) + "\n").encode(),
    }


def likeness(projection: Projection, target_HWC: NDArray[np.uint8]) -> tuple[float, float] | None:
    """How far start and projection are from the target in dlib's face embedding.

    Two photographs of one person are mostly within 0.6. None without the extra `eval`. The search
    never saw this measure, so it is an independent one.
    """
    try:
        target_E, start_E, found_E = (
            embed_face(find_face(image_HWC))
            for image_HWC in (target_HWC, projection.start_HWC, projection.image_HWC)
        )
    except EvaluationError:
        return None
    return float(np.linalg.norm(start_E - target_E)), float(np.linalg.norm(found_E - target_E))


def _no_face_crop(image_HWC: NDArray[np.uint8], width: int, height: int) -> str | None:
    """Why the picture is no crop of a face, or None."""
    if max(width, height) > LONGEST_SIDES * min(width, height):
        return f"is {width}×{height} px, too long for a crop of a face"
    if image_HWC.mean(axis=2).std() < FLAT:
        return "is one flat colour"
    try:
        face = find_face(image_HWC)
    except EvaluationError:
        return None  # nothing installed that could tell
    if not face.found:
        return "shows no face that dlib can find"
    left, _, right, _ = face.box
    share = (right - left + 1) / face.image_HWC.shape[1]
    if share < SMALLEST_FACE:
        return f"shows a face over only {share:.0%} of its width"
    return None
