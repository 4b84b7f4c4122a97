"""Which pictures are not worth learning from: greyscale, one tint, out of focus, or off in colour.

A picture's own pixels decide, by measures that agree with the eye on sheets sorted by them
(docs/flagship.md). Knows nothing about files, labels or the archive.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import ConfigError

LUMA_C = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
CB_SCALE, CR_SCALE = 1.772, 1.402  # of blue − luma and of red − luma
FACE_SHARE = 0.6
"""The middle of the picture, by side, where the face is: a soft background is no fault."""
WARMTH, TINT = (42.1, 13.6), (7.2, 5.15)
"""Mean and deviation over UTKFace of Cr − Cb (blue to orange) and of Cr + Cb (green to violet) in
the middle of the picture, in levels of 255. The two are all but uncorrelated."""


@dataclass(frozen=True)
class Curation:
    """What a picture must have, or may; 0 takes every picture. Raises ConfigError below 0."""

    min_chroma: float = 0.0
    """Smallest `chroma` of a picture that is kept."""
    min_sharpness: float = 0.0
    """Smallest `sharpness`; it depends on the resolution at which pictures are prepared."""
    max_cast: float = 0.0
    """Largest `cast`."""

    def __post_init__(self) -> None:
        for name in ("min_chroma", "min_sharpness", "max_cast"):
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
        if self.max_cast and cast(image_HWC) > self.max_cast:
            return f"off in colour: its cast is above {self.max_cast:g}"
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
    for channel, scale in ((2, CB_SCALE), (0, CR_SCALE)):
        difference_N = (pixels_NC[:, channel] - luma_N) / scale
        difference_N -= difference_N.mean()
        if variance > 0:
            difference_N -= centred_N * (float(centred_N @ difference_N) / variance)
        squares += float(difference_N @ difference_N) / len(difference_N)
    return float(np.sqrt(squares))


def sharpness(image_HWC: NDArray[np.uint8]) -> float:
    """Root mean square of the luma's Laplacian over the middle of the picture, in levels of 255."""
    luma_HW = image_HWC.astype(np.float32) @ LUMA_C
    face_HW = _middle(luma_HW)
    middle_HW = face_HW[1:-1, 1:-1]
    around_HW = face_HW[:-2, 1:-1] + face_HW[2:, 1:-1] + face_HW[1:-1, :-2] + face_HW[1:-1, 2:]
    return float(np.sqrt(np.mean((4 * middle_HW - around_HW) ** 2)))


def cast(image_HWC: NDArray[np.uint8]) -> float:
    """How far the face's mean colour is from that of portraits, in standard deviations.

    Light that the camera was not balanced for, filters and stage lamps. Faces of every complexion
    differ in brightness, which does not count here, far more than in mean Cb and Cr, which do.
    """
    red, green, blue = _middle(image_HWC.astype(np.float32)).mean(axis=(0, 1))
    luma = np.array([red, green, blue]) @ LUMA_C
    cb, cr = (blue - luma) / CB_SCALE, (red - luma) / CR_SCALE
    warmth, tint = (cr - cb - WARMTH[0]) / WARMTH[1], (cr + cb - TINT[0]) / TINT[1]
    return float(np.hypot(warmth, tint))


def _middle(image_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the face is: rows and columns of the middle."""
    height, width = image_HW.shape[:2]
    top, left = (round(side * (1 - FACE_SHARE) / 2) for side in (height, width))
    return image_HW[top : height - top, left : width - left]
