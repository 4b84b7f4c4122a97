"""Each measure worsens under the troubles it is meant to see: the table of docs/metrics.md.

Generated faces stand for real ones, so that no photograph is needed: one set is the reference,
another one the baseline, and that one spoilt is judged.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models import load_checkpoint
from training.metrics.compare import measure
from training.metrics.evaluate import draw_labels, generate
from training.metrics.extractors import EFFICIENTNET_PACKAGE, available_extractors
from training.metrics.extras import missing
from training.metrics.faces import find_face
from training.metrics.figure import Embedding, Figure, PictureSet

CHECKPOINT = Path(__file__).parents[3] / "models" / "checkpoints" / "faces-64"
COUNT = 32
TROUBLES = ("blur", "noise", "pixelation", "collapse")

# Whether a measure is meant to see blur, noise, pixelation, collapse.
SEEN = {
    "sliced Wasserstein ×10³, mean": (1, 1, 1, 1),
    "sliced Wasserstein ×10³, 64 px": (1, 1, 1, 1),
    "MS-SSIM of pairs of one label": (0, 1, 0, 1),
    "distance between pictures, mean": (0, 0, 0, 1),
    "distance between pictures, gender=male": (0, 0, 0, 1),
    "repetitions among pictures of 16 px, %": (0, 0, 0, 1),
    "random projections of pictures of 16 px told apart, %": (0, 0, 0, 1),
    "Fréchet distance of EfficientNet features": (1, 1, 1, 1),
    "kernel distance (KID) of EfficientNet features ×10³": (1, 1, 1, 1),
    "precision of EfficientNet features": (1, 1, 1, 0),
    "recall of EfficientNet features": (1, 1, 1, 1),
    "random projections of EfficientNet features told apart, %": (1, 1, 1, 1),
    "repetitions among EfficientNet features, %": (0, 0, 0, 1),
}


def spoilt(image_NHWC: np.ndarray, trouble: str) -> np.ndarray:
    """Gaussian blur, Gaussian noise, blocks of 4 px, or four pictures over and over."""
    n, side = image_NHWC.shape[:2]
    if trouble == "noise":
        noise = np.random.default_rng(0).normal(0, 25, image_NHWC.shape)
        return np.clip(image_NHWC + noise, 0, 255).astype(np.uint8)
    if trouble == "collapse":
        return image_NHWC[np.arange(n) % 4]
    if trouble == "pixelation":
        blocks = image_NHWC.reshape(n, side // 4, 4, side // 4, 4, 3).mean(axis=(2, 4))
        return blocks.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    blur = ImageFilter.GaussianBlur(1.5)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in image_NHWC])


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, dict[str, tuple[str, ...]]]:
    """Pictures of seeds 0 … 63, their labels, and the labels' values."""
    checkpoint = load_checkpoint(CHECKPOINT)
    index_NA = draw_labels(checkpoint, 2 * COUNT, np.random.default_rng(0))
    values = {attribute.name: attribute.values for attribute in checkpoint.attributes}
    return generate(checkpoint, index_NA), index_NA, values


@pytest.fixture(scope="module")
def figures(
    faces: tuple[np.ndarray, np.ndarray, dict[str, tuple[str, ...]]],
) -> dict[str, dict[str, Figure]]:
    """Every figure, by what was done to the pictures and by its name."""
    image_NHWC, index_NA, values = faces
    gender_NA, genders = index_NA[COUNT:, :1], {"gender": values["gender"]}
    extractors, _ = available_extractors()

    def seen(pictures: np.ndarray) -> PictureSet:
        embeddings = {
            extractor.noun: Embedding(
                extractor.features(pictures, advance=lambda: None), extractor.method, False
            )
            for extractor in extractors
        }
        return PictureSet(pictures, gender_NA, genders, np.zeros(1), None, None, embeddings)

    reference, baseline_NHWC = seen(image_NHWC[:COUNT]), image_NHWC[COUNT:]
    sets = {"baseline": baseline_NHWC} | {name: spoilt(baseline_NHWC, name) for name in TROUBLES}
    return {
        name: {figure.name: figure for figure in measure(seen(pictures), reference)}
        for name, pictures in sets.items()
    }


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", SEEN)
def test_a_measure_worsens_under_what_it_is_meant_to_see(
    figures: dict[str, dict[str, Figure]], name: str, trouble: str
) -> None:
    if not SEEN[name][TROUBLES.index(trouble)]:
        return
    if "EfficientNet" in name and missing(EFFICIENTNET_PACKAGE) is not None:
        pytest.skip("needs an optional package")
    baseline, figure = figures["baseline"][name], figures[trouble][name]
    if figure.better == "lower":
        assert figure.value > 1.2 * baseline.value
    elif figure.better == "higher":
        assert figure.value < 0.9 * baseline.value
    else:
        assert abs(figure.value - baseline.value) > 0.05 * baseline.value


@pytest.mark.skipif(missing("dlib", "face_recognition_models") is not None, reason="an extra")
@pytest.mark.parametrize("trouble", ["blur", "noise", "pixelation"])
def test_spoilt_faces_are_found_less(
    faces: tuple[np.ndarray, np.ndarray, dict[str, tuple[str, ...]]], trouble: str
) -> None:
    image_NHWC = faces[0][:8]
    spoilt_NHWC = image_NHWC
    for _ in range(3):  # thrice: the detector is made for faces, not for sharpness
        spoilt_NHWC = spoilt(spoilt_NHWC, trouble)
    found = [np.mean([find_face(image).found for image in s]) for s in (image_NHWC, spoilt_NHWC)]
    assert found[1] < found[0]
