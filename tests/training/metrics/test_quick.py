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


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.arange(128) % 4


def test_a_perfect_generator_is_as_varied_as_real_pictures(labels: np.ndarray) -> None:
    figures = quick_metrics(blotches(0), blotches(1), labels)
    assert list(figures) == [
        "swd",
        "swd/32",
        "swd/16",
        "diversity",
        *[f"diversity/{i}" for i in range(4)],
        "repetitions",
    ]
    shares = [value for key, value in figures.items() if key.startswith("diversity")]
    assert shares == pytest.approx([1] * 5, abs=0.1)
    assert figures["repetitions"] < 0.1
    assert figures == quick_metrics(blotches(0), blotches(1), labels)


def test_collapse_under_one_label_is_told_by_its_name(labels: np.ndarray) -> None:
    fakes = blotches(1)
    words = np.array(["age=0-9", "age=10-19", "age=20-29", "age=30+"])[labels]
    fakes[labels == 2] = fakes[2]
    figures = quick_metrics(blotches(0), fakes, words)
    assert figures["diversity/age=20-29"] == pytest.approx(0, abs=1e-6)
    assert figures["diversity/age=10-19"] > 0.9
    assert figures["repetitions"] > 0.25


def test_noise_raises_the_distance_and_labels_are_optional() -> None:
    rng = np.random.default_rng(0)
    fakes = blotches(1)
    noisy = np.clip(fakes + rng.normal(0, 20, fakes.shape), 0, 255).astype(np.uint8)
    clean = quick_metrics(blotches(0), fakes)
    assert quick_metrics(blotches(0), noisy)["swd/32"] > 2 * clean["swd/32"]
    assert not any(key.startswith("diversity/") for key in clean)


def test_generated_pictures_may_have_labels_of_their_own(labels: np.ndarray) -> None:
    rare = np.where(np.arange(128) < 4, 3, labels % 3)
    figures = quick_metrics(blotches(0), blotches(1), labels, fake_label_N=rare)
    assert "diversity/2" in figures
    assert "diversity/3" not in figures


def test_unequal_sets_are_refused() -> None:
    with pytest.raises(EvaluationError, match="as many pictures"):
        quick_metrics(blotches(0), blotches(1)[:100])
