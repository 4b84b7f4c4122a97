"""Zero for equal sets, larger the further they are apart, blind to what it should not see."""

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage, stats

from training.errors import EvaluationError
from training.metrics.swd import laplacian_pyramid, sliced_wasserstein


def pictures(seed: int, n: int = 24, side: int = 32) -> np.ndarray:
    """Smooth blotches with some grain, image_NHWC."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (n, side // 8, side // 8, 3), dtype=np.uint8)
    smooth = [
        np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC))
        for c in coarse
    ]
    grain = rng.normal(0, 12, (n, side, side, 3))
    return np.clip(np.stack(smooth) + grain, 0, 255).astype(np.uint8)


def blurred(image_NHWC: np.ndarray, radius: float) -> np.ndarray:
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in image_NHWC])


def plain_pyramid(image_HWC: np.ndarray) -> list[np.ndarray]:
    """As Burt and Adelson describe it, by SciPy's convolution in float64."""
    binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[..., None] / 256
    level, pyramid = image_HWC.astype(np.float64), []
    while len(level) > 16:
        smaller = ndimage.convolve(level, binomial, mode="mirror")[::2, ::2]
        spread = np.zeros_like(level)
        spread[::2, ::2] = smaller
        pyramid.append(level - ndimage.convolve(spread, 4 * binomial, mode="mirror"))
        level = smaller
    return [*pyramid, level]


def plain_distance(a_NHWC: np.ndarray, b_NHWC: np.ndarray, seed: int) -> dict[int, float]:
    """Patch by patch and direction by direction, SciPy's Wasserstein distance on each."""
    pyramids = [[plain_pyramid(image) for image in images] for images in (a_NHWC, b_NHWC)]
    distances = {}
    for number, level in enumerate(pyramids[0][0]):
        side, n = len(level), len(a_NHWC)
        rng = np.random.default_rng([seed, side])
        rows, columns = rng.integers(0, side - 6, n * 128), rng.integers(0, side - 6, n * 128)
        descriptors = []
        for pyramid in pyramids:
            patches = np.stack(
                [
                    pyramid[i // 128][number][row : row + 7, column : column + 7].transpose(2, 0, 1)
                    for i, (row, column) in enumerate(zip(rows, columns, strict=True))
                ]
            )
            for channel in range(3):
                patches[:, channel] -= patches[:, channel].mean()
                patches[:, channel] /= patches[:, channel].std()
            descriptors.append(patches.reshape(len(patches), 147))
        found = []
        for _ in range(4):
            for direction in rng.standard_normal((128, 147), np.float32):
                direction = direction / np.linalg.norm(direction)
                found.append(
                    stats.wasserstein_distance(*(points @ direction for points in descriptors))
                )
        distances[side] = 1e3 * float(np.mean(found))
    return distances


def test_agrees_with_a_plain_implementation_by_scipy() -> None:
    a_NHWC, b_NHWC = pictures(0, n=3), blurred(pictures(1, n=3), 0.5)
    expected = plain_distance(a_NHWC, b_NHWC, seed=5)
    assert sliced_wasserstein(a_NHWC, b_NHWC, seed=5) == pytest.approx(expected, rel=1e-4)
    assert expected[32] > 10


def test_pyramid_adds_up_to_the_picture() -> None:
    image_NHWC = pictures(0, n=2, side=64)
    levels = laplacian_pyramid(image_NHWC)
    assert [level.shape[1] for level in levels] == [64, 32, 16]
    # A flat picture has nothing at the fine levels: enlarging keeps brightness, borders included.
    flat = laplacian_pyramid(np.full((1, 64, 64, 3), 100, np.uint8))
    assert np.abs(flat[0]).max() < 1e-3
    assert np.abs(flat[1]).max() < 1e-3
    assert np.abs(flat[2] - 100).max() < 1e-3


def test_equal_sets_are_at_no_distance() -> None:
    image_NHWC = pictures(0)
    assert sliced_wasserstein(image_NHWC, image_NHWC) == {32: 0, 16: 0}


def test_blur_is_seen_the_more_the_stronger_it_is() -> None:
    image_NHWC, other_NHWC = pictures(0), pictures(1)
    distances = [
        sliced_wasserstein(image_NHWC, blurred(other_NHWC, radius))[32] for radius in (0, 1, 2)
    ]
    assert distances[1] > 2 * distances[0]
    assert distances[2] > distances[1]


def test_blur_is_seen_most_at_the_fine_level() -> None:
    image_NHWC = pictures(0)
    distances = sliced_wasserstein(image_NHWC, blurred(image_NHWC, 1))
    assert distances[32] > 2 * distances[16]


def test_brightness_and_contrast_of_the_whole_set_are_not_seen() -> None:
    image_NHWC = pictures(0)
    image_NHWC -= image_NHWC % 2
    dimmed_NHWC = image_NHWC // 2 + np.array([5, 40, 90], np.uint8)
    assert max(sliced_wasserstein(image_NHWC, dimmed_NHWC).values()) < 1


def test_order_of_the_pictures_hardly_matters() -> None:
    image_NHWC = pictures(0, n=32)
    shuffled = sliced_wasserstein(image_NHWC, image_NHWC[::-1])
    assert 3 * shuffled[32] < sliced_wasserstein(image_NHWC, blurred(image_NHWC, 1))[32]


def test_same_seed_same_distance() -> None:
    a, b = pictures(0, n=4), pictures(1, n=4)
    assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
    assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (pictures(0, n=2), pictures(0, n=3), "sets of equal shape"),
        (pictures(0, n=2, side=16), pictures(0, n=2), "sets of equal shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), "at least 7 px"),
        (np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 16, 16, 3), np.uint8), "a set of shape"),
    ],
)
def test_what_cannot_be_compared(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        sliced_wasserstein(a, b)
