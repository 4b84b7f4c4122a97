"""Greyscale, tinted, blurred and ill-lit pictures are told from good ones, and left out."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.curation import Curation, cast, chroma, sharpness
from training.errors import ConfigError
from training.pictures import encode_png
from training.prepare import prepare


def photograph(seed: int = 0) -> NDArray[np.uint8]:
    """Something with colours, shades and edges, image_HWC of 32 px."""
    random = np.random.default_rng(seed)
    return np.kron(random.integers(40, 220, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def grey(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image_HWC).convert("L").convert("RGB"))


def tinted(image_HWC: NDArray[np.uint8], tint_C: tuple[float, float, float]) -> NDArray[np.uint8]:
    return (grey(image_HWC) * np.array(tint_C)).astype(np.uint8)


def blurred(image_HWC: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image_HWC).filter(ImageFilter.GaussianBlur(radius)))


def test_a_single_tint_has_no_chroma() -> None:
    picture = photograph()
    assert chroma(picture) > 20
    assert chroma(grey(picture)) < 0.01
    for tint in ((1, 0.85, 0.6), (0.5, 0.6, 1), (0.4, 1, 0.5)):
        assert chroma(tinted(picture, tint)) < 1  # rounding to 8 bits alone


def test_a_flat_colour_has_neither_chroma_nor_sharpness() -> None:
    flat = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    assert chroma(flat) == pytest.approx(0, abs=1e-3)
    assert sharpness(flat) == pytest.approx(0, abs=1e-3)


def test_blur_takes_sharpness_away_step_by_step() -> None:
    picture = photograph()
    steps = [sharpness(blurred(picture, radius)) for radius in (0, 1, 2, 4)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 5 * steps[-1]


def test_only_the_middle_has_to_be_sharp() -> None:
    picture = photograph()
    soft = blurred(picture, 4).copy()
    soft[6:26, 6:26] = picture[6:26, 6:26]
    assert sharpness(soft) == pytest.approx(sharpness(picture), rel=0.05)


def test_light_of_one_colour_is_a_cast_and_a_darker_complexion_is_not() -> None:
    light, dark = (np.full((32, 32, 3), c, np.uint8) for c in ((214, 165, 145), (98, 62, 48)))
    assert cast(light) < 1.5
    assert cast(dark) < 1.5
    for lamp in ((1, 0.75, 1.3), (0.75, 1.1, 0.7), (1.15, 0.8, 0.4)):  # violet, green, orange
        lit = np.clip(light * np.array(lamp), 0, 255).astype(np.uint8)
        assert cast(lit) > 2.5


def test_only_the_face_can_have_a_cast() -> None:
    violet = np.full((32, 32, 3), (150, 60, 220), np.uint8)
    face = violet.copy()
    face[6:26, 6:26] = (214, 165, 145)
    assert cast(face) < 1.5 < 2.5 < cast(violet)


@pytest.mark.parametrize(
    "limits", [{"min_chroma": -1.0}, {"min_sharpness": float("nan")}, {"max_cast": -0.5}]
)
def test_limits_are_numbers_from_zero(limits: dict[str, float]) -> None:
    name = next(iter(limits)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"--{name} is .*: it must be a number of 0 or more"):
        Curation(**limits)


@pytest.mark.parametrize("workers", [1, 2])
def test_prepare_leaves_out_and_names_what_falls_short(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "photos" / "person"
    folder.mkdir(parents=True)
    pictures = {
        "blurred.png": blurred(photograph(1), 6),
        "good.png": photograph(2),
        "violet.png": (photograph(4) * np.array([0.8, 0.2, 1])).astype(np.uint8),
        "grey.png": grey(photograph(3)),
    }
    for name, pixels in pictures.items():
        (folder / name).write_bytes(encode_png(Image.fromarray(pixels)))
    report = prepare(
        tmp_path / "photos",
        tmp_path / "kept.zip",
        resolution=32,
        workers=workers,
        curation=Curation(min_chroma=2.5, min_sharpness=10, max_cast=6),
    )
    assert report.pictures == 1
    reasons = {Path(entry.name).name: entry.reason for entry in report.skipped}
    assert reasons == {
        "blurred.png": "out of focus: its sharpness is below 10",
        "grey.png": "greyscale or a single tint: its chroma is below 2.5",
        "violet.png": "off in colour: its cast is above 6",
    }
    assert prepare(tmp_path / "photos", tmp_path / "all.zip", resolution=32).pictures == 4
