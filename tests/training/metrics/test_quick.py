"""What a trainer is told: a few figures that move the right way."""

import numpy as np
import pytest
from PIL import Image

from training.errors import EvaluationError
from training.metrics.quick import quick_metrics


def blotches(seed: int, n: int = 128, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    resized = [Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC) for c in coarse]
    return np.stack([np.asarray(picture) for picture in resized])


def test_a_perfect_generator_is_as_varied_as_real_pictures() -> None:
    figures = quick_metrics(blotches(0), blotches(1))
    assert list(figures) == ["swd", "swd/32", "swd/16", "diversity", "repetitions"]
    assert figures["diversity"] == pytest.approx(1, abs=0.1)
    assert figures["repetitions"] < 0.1
    assert figures == quick_metrics(blotches(0), blotches(1))


def test_pictures_that_are_partly_the_same_are_less_varied_and_repeat() -> None:
    fakes = blotches(1)
    fakes[::2] = fakes[2]
    figures = quick_metrics(blotches(0), fakes)
    assert figures["diversity"] < 0.85
    assert figures["repetitions"] > 0.25


def test_noise_raises_the_distance() -> None:
    rng = np.random.default_rng(0)
    fakes = blotches(1)
    noisy = np.clip(fakes + rng.normal(0, 20, fakes.shape), 0, 255).astype(np.uint8)
    clean = quick_metrics(blotches(0), fakes)
    assert quick_metrics(blotches(0), noisy)["swd/32"] > 2 * clean["swd/32"]


def test_unequal_sets_are_refused() -> None:
    with pytest.raises(EvaluationError, match="as many pictures"):
        quick_metrics(blotches(0), blotches(1)[:100])
