"""How alike are pairs of pictures of one label: multi-scale structural similarity.

Wang, Simoncelli and Bovik 2003, on pairs of generated pictures as Odena et al. (arXiv 1610.09585)
and the progressive-GAN paper take it: the more alike they are, the less the generator varies. The
11×11 window does not fit the coarse scales of small pictures: there it shrinks with its deviation
to the whole picture, and halving ends at 4 px, the weights of the scales left out being spread over
the others. So figures of different resolutions cannot be compared. It knows nothing of generators.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.errors import EvaluationError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WINDOW, DEVIATION = 11, 1.5
SMALLEST = 4  # pixels
STABILISERS = (0.01**2, 0.03**2)  # of luminance and contrast, for shades in 0 … 1
BATCH = 64


@torch.inference_mode()
def ms_ssim(a_NHWC: NDArray[np.uint8], b_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Similarity of each picture of a to the one in the same place of b, [N]: 1 where equal.

    Raises EvaluationError for sets of unequal shape or smaller than 4 px.
    """
    if a_NHWC.shape != b_NHWC.shape or min(a_NHWC.shape[1:3]) < SMALLEST:
        raise EvaluationError(
            f"MS-SSIM compares pictures of one size from {SMALLEST} px, not {a_NHWC.shape} with "
            f"{b_NHWC.shape}: bring both to one size."
        )
    batches = [
        _similarity(_tensor(a_NHWC[i : i + BATCH]), _tensor(b_NHWC[i : i + BATCH])).numpy()
        for i in range(0, len(a_NHWC), BATCH)
    ]
    return np.concatenate(batches).astype(np.float64)


def pairs_of_one_label(
    label_N: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of `count` random pairs of different pictures, [P, 2], each of one label.

    `label_N` may have several columns, all of which must agree. Empty where no label has two
    pictures. Labels are drawn in proportion to their pictures that have company.
    """
    _, group_N = np.unique(label_N, axis=0, return_inverse=True)
    members = [np.flatnonzero(group_N == group) for group in range(group_N.max() + 1)]
    with_company = [rows for rows in members if len(rows) > 1]
    if not with_company:
        return np.empty((0, 2), np.int64)
    sizes = np.array([len(rows) for rows in with_company])
    drawn = rng.choice(len(with_company), count, p=sizes / sizes.sum())
    return np.array([rng.choice(with_company[group], 2, replace=False) for group in drawn])


def _similarity(a_NCHW: Tensor, b_NCHW: Tensor) -> Tensor:
    scales = min(len(WEIGHTS), int(np.log2(a_NCHW.shape[-1] / SMALLEST)) + 1)
    similarity_N = torch.ones(len(a_NCHW), dtype=a_NCHW.dtype)
    share = sum(WEIGHTS) / sum(WEIGHTS[:scales])
    for scale in range(scales):
        luminance_N, contrast_N = _compare(a_NCHW, b_NCHW)
        last = scale == scales - 1
        term_N = (luminance_N if last else contrast_N).clamp(min=0)
        similarity_N *= term_N ** (WEIGHTS[scale] * share)
        a_NCHW, b_NCHW = F.avg_pool2d(a_NCHW, 2), F.avg_pool2d(b_NCHW, 2)
    return similarity_N


def _compare(a_NCHW: Tensor, b_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over all windows of luminance times contrast and structure, and of the latter alone."""
    first, second = STABILISERS
    mean_a, mean_b = _blur(a_NCHW), _blur(b_NCHW)
    variances = _blur(a_NCHW**2) - mean_a**2 + _blur(b_NCHW**2) - mean_b**2
    covariance = _blur(a_NCHW * b_NCHW) - mean_a * mean_b
    contrast = (2 * covariance + second) / (variances + second)
    luminance = (2 * mean_a * mean_b + first) / (mean_a**2 + mean_b**2 + first)
    return (luminance * contrast).mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _blur(image_NCHW: Tensor) -> Tensor:
    """Gaussian window where it fits whole."""
    size, channels = min(WINDOW, image_NCHW.shape[-1]), image_NCHW.shape[1]
    offset = torch.arange(size, dtype=image_NCHW.dtype) - (size - 1) / 2
    window = torch.exp(-((offset / (DEVIATION * size / WINDOW)) ** 2) / 2)
    window = (window / window.sum()).expand(channels, 1, size)
    image_NCHW = F.conv2d(image_NCHW, window[..., None], groups=channels)
    return F.conv2d(image_NCHW, window[:, :, None], groups=channels)


def _tensor(image_NHWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image_NHWC).permute(0, 3, 1, 2).double() / 255
