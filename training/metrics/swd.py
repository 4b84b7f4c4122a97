"""Sliced Wasserstein distance of local patches at every scale, as in the progressive-GAN paper.

Each picture becomes a Laplacian pyramid; at each level, 7×7 patches of both sets are projected on
random directions, where the distance between two sets is that between their sorted values. High
levels see noise and texture, the lowest sees composition. It needs no network.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.errors import EvaluationError

PATCH = 7
PATCHES_PER_IMAGE = 128
SMALLEST_LEVEL = 16
DIRECTIONS, REPEATS = 128, 4
KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16

Images = NDArray[np.float32]


def sliced_wasserstein(
    a_NHWC: NDArray[np.uint8],
    b_NHWC: NDArray[np.uint8],
    *,
    seed: int = 0,
    patches_per_image: int = PATCHES_PER_IMAGE,
    directions: int = DIRECTIONS,
    repeats: int = REPEATS,
) -> dict[int, float]:
    """Distance ×10³ per pyramid level, keyed by the level's resolution, finest first.

    The defaults are the paper's (arXiv 1710.10196, section 5); fewer patches and directions give a
    rougher figure that cannot be compared with theirs. Both sets hold equally many square pictures
    of one size. Raises EvaluationError otherwise.
    """
    if a_NHWC.shape != b_NHWC.shape:
        raise EvaluationError(
            f"Sliced Wasserstein compares sets of equal shape, not {a_NHWC.shape} with "
            f"{b_NHWC.shape}: take as many pictures of the same size."
        )
    if len(a_NHWC) == 0 or min(a_NHWC.shape[1:3]) < PATCH:
        raise EvaluationError(
            f"Sliced Wasserstein needs pictures of at least {PATCH} px, not a set of shape "
            f"{a_NHWC.shape}: use larger ones."
        )
    pyramids = zip(laplacian_pyramid(a_NHWC), laplacian_pyramid(b_NHWC), strict=True)
    distances = {}
    for a_level, b_level in pyramids:
        rng = np.random.default_rng([seed, a_level.shape[1]])  # the same places in both sets
        places = _patch_places(a_level, patches_per_image, rng)
        a_PD, b_PD = (_patches(level, *places) for level in (a_level, b_level))
        of_repeats = [_projected_distance(a_PD, b_PD, directions, rng) for _ in range(repeats)]
        distances[a_level.shape[1]] = 1e3 * float(np.mean(of_repeats))
    return distances


def laplacian_pyramid(image_NHWC: NDArray[np.uint8]) -> list[Images]:
    """What each halving loses, finest first; the last level is what remains. They sum up."""
    level = image_NHWC.astype(np.float32)
    pyramid = []
    while level.shape[1] > SMALLEST_LEVEL:
        smaller = _blur(level)[:, ::2, ::2]
        pyramid.append(level - _enlarge(smaller))
        level = smaller
    return [*pyramid, level]


def _blur(image_NHWC: Images) -> Images:
    """Separable binomial filter; the border is mirrored."""
    for axis in (1, 2):
        margin = [(0, 0)] * 4
        margin[axis] = (2, 2)
        windows = sliding_window_view(np.pad(image_NHWC, margin, mode="reflect"), 5, axis=axis)
        image_NHWC = np.asarray(windows @ KERNEL, np.float32)
    return image_NHWC


def _enlarge(image_NHWC: Images) -> Images:
    n, height, width, channels = image_NHWC.shape
    spread = np.zeros((n, 2 * height, 2 * width, channels), np.float32)
    spread[:, ::2, ::2] = image_NHWC
    return 4 * _blur(spread)


def _patch_places(
    level_NHWC: Images, per_image: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Picture, row and column of every patch."""
    n, height, width, _ = level_NHWC.shape
    count = n * per_image
    return (
        np.repeat(np.arange(n), per_image),
        rng.integers(0, height - PATCH + 1, count),
        rng.integers(0, width - PATCH + 1, count),
    )


def _patches(
    level_NHWC: Images,
    picture_P: NDArray[np.int64],
    row_P: NDArray[np.int64],
    column_P: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Patches as descriptors [P, C·7·7], each channel brought to mean 0 and deviation 1."""
    windows = sliding_window_view(level_NHWC, (PATCH, PATCH), axis=(1, 2))
    patch_PCHW: NDArray[np.float32] = windows[picture_P, row_P, column_P]
    axes = (0, 2, 3)
    patch_PCHW = patch_PCHW - patch_PCHW.mean(axis=axes, keepdims=True)
    deviation = patch_PCHW.std(axis=axes, keepdims=True)
    patch_PCHW /= np.maximum(deviation, 1e-8)
    return patch_PCHW.reshape(len(patch_PCHW), -1)


def _projected_distance(
    a_PD: NDArray[np.float32], b_PD: NDArray[np.float32], count: int, rng: np.random.Generator
) -> float:
    """Mean distance between the sorted projections on `count` random directions."""
    direction_KD = rng.standard_normal((count, a_PD.shape[1]), np.float32)
    direction_KD /= np.linalg.norm(direction_KD, axis=1, keepdims=True)
    a_KP = np.sort(direction_KD @ a_PD.T, axis=1)
    b_KP = np.sort(direction_KD @ b_PD.T, axis=1)
    return float(np.abs(a_KP - b_KP).mean(dtype=np.float64))
