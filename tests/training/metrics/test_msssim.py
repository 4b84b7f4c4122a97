"""Against torchmetrics' maps where its window fits; sound where it does not."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from training.errors import EvaluationError
from training.metrics.msssim import ms_ssim, pairs_of_one_label


def smooth(seed: int, n: int = 2, side: int = 64) -> np.ndarray:
    """Random gradients with some grain."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, side)
    slope = rng.uniform(0, 120, (n, 2, 1, 1, 3))
    grain = rng.normal(0, 8, (n, side, side, 3))
    shade = slope[:, 0] * ramp[None, :, None, None] + slope[:, 1] * ramp[None, None, :, None]
    return np.clip(shade + grain, 0, 255).astype(np.uint8)


def by_torchmetrics(a_NHWC: np.ndarray, b_NHWC: np.ndarray) -> np.ndarray:
    """Wang's combination of torchmetrics' maps, without their mirrored borders.

    Its own multi-scale measure leaves the border out of the fine scales but not of the last one.
    """
    a, b = (torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255 for x in (a_NHWC, b_NHWC))
    product = torch.ones(len(a))
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale < 4:
            _, term = structural_similarity_index_measure(
                a, b, data_range=1.0, return_contrast_sensitivity=True
            )
        else:
            _, every = structural_similarity_index_measure(
                a, b, data_range=1.0, return_full_image=True, reduction="none"
            )
            term = every[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
        product = product * term.clamp(min=0) ** weight
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    return product.numpy()


def test_agrees_with_torchmetrics() -> None:
    a, b = smooth(0, n=1, side=192), smooth(1, n=1, side=192)
    assert ms_ssim(a, b) == pytest.approx(by_torchmetrics(a, b), rel=1e-6)


@pytest.mark.parametrize("side", [4, 16, 64])
def test_small_pictures_are_compared_too(side: int) -> None:
    a = smooth(0, side=side)
    noise = np.random.default_rng(2).integers(-40, 40, a.shape)
    noisy = np.clip(a.astype(int) + noise, 0, 255).astype(np.uint8)
    assert ms_ssim(a, a) == pytest.approx(1)
    assert (ms_ssim(a, noisy) < 0.99).all()
    assert ms_ssim(a, noisy) == pytest.approx(ms_ssim(noisy, a))


def test_pairs_are_of_one_label_and_never_of_one_picture() -> None:
    labels = np.array([[0, 0], [0, 1], [0, 0], [0, 1], [0, 0], [1, 1]])
    pairs = pairs_of_one_label(labels, 200, np.random.default_rng(0))
    assert pairs.shape == (200, 2)
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert set(pairs.ravel()) == {0, 1, 2, 3, 4}
    assert pairs_of_one_label(np.arange(3)[:, None], 9, np.random.default_rng(0)).shape == (0, 2)
    unlabelled = pairs_of_one_label(np.empty((4, 0), np.int64), 9, np.random.default_rng(0))
    assert unlabelled.shape == (9, 2)


def test_sizes_must_agree() -> None:
    with pytest.raises(EvaluationError, match="bring both to one size"):
        ms_ssim(smooth(0, side=32), smooth(0, side=64))
