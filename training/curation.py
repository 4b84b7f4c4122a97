"""Which pictures are not worth learning from: greyscale, one tint, or out of focus.

A picture's own pixels decide, by two measures that agree with the eye on sheets sorted by them
(docs/flagship.md). Knows nothing about files, labels or the archive.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import ConfigError

LUMA_C = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
FACE_SHARE = 0.6
"""The middle of the picture, by side, where the face is: a soft background is no fault."""


@dataclass(frozen=True)
class Curation:
    """The least that a picture must have; 0 takes every picture. Raises ConfigError below 0."""

    min_chroma: float = 0.0
    """Smallest `chroma` of a picture that is kept."""
    min_sharpness: float = 0.0
    """Smallest `sharpness`; it depends on the resolution at which pictures are prepared."""

    def __post_init__(self) -> None:
        for name in ("min_chroma", "min_sharpness"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option} is {value}: it must be a number of 0 or more")

    def objection(self, image_HWC: NDArray[np.uint8]) -> str | None:
        """Why the picture is to be left out, or None. The same words for the same reason."""
        if self.min_chroma and chroma(image_HWC) < self.min_chroma:
            return f"greyscale or a single tint: its chroma is below {self.min_chroma:g}"
        if self.min_sharpness and sharpness(image_HWC) < self.min_sharpness:
            return f"out of focus: its sharpness is below {self.min_sharpness:g}"
        return None


def chroma(image_HWC: NDArray[np.uint8]) -> float:
    """Colour that brightness does not explain, in levels of 255, root mean square.

    What is left of Cb and Cr after each is fitted by a line over luma: 0 for greyscale, sepia and
    any other single tint.
    """
    pixels_NC = image_HWC.reshape(-1, 3).astype(np.float32)
    luma_N = pixels_NC @ LUMA_C
    centred_N = luma_N - luma_N.mean()
    variance = float(centred_N @ centred_N)
    squares = 0.0
    for channel, scale in ((2, 1.772), (0, 1.402)):  # Cb from blue, Cr from red
        difference_N = (pixels_NC[:, channel] - luma_N) / scale
        difference_N -= difference_N.mean()
        if variance > 0:
            difference_N -= centred_N * (float(centred_N @ difference_N) / variance)
        squares += float(difference_N @ difference_N) / len(difference_N)
    return float(np.sqrt(squares))


def sharpness(image_HWC: NDArray[np.uint8]) -> float:
    """Root mean square of the luma's Laplacian over the middle of the picture, in levels of 255."""
    luma_HW = image_HWC.astype(np.float32) @ LUMA_C
    height, width = luma_HW.shape
    top, left = (round(side * (1 - FACE_SHARE) / 2) for side in (height, width))
    face_HW = luma_HW[top : height - top, left : width - left]
    middle_HW = face_HW[1:-1, 1:-1]
    around_HW = face_HW[:-2, 1:-1] + face_HW[2:, 1:-1] + face_HW[1:-1, :-2] + face_HW[1:-1, 2:]
    return float(np.sqrt(np.mean((4 * middle_HW - around_HW) ** 2)))
