"""A drawn face is found and embedded; noise is not a face."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from training.errors import EvaluationError
from training.metrics.extras import missing, package_folder, require
from training.metrics.faces import EMBEDDING_LENGTH, embed_face, face_rate, find_face


def drawn_face(side: int = 64, shade: int = 215) -> np.ndarray:
    """Hair, skin, eyes with brows, nose and mouth: enough for the detector, image_HWC."""
    scale = 8
    sheet = Image.new("RGB", (64 * scale, 64 * scale), (70, 90, 110))
    draw = ImageDraw.Draw(sheet)

    def at(*edges: float) -> list[float]:
        return [edge * scale for edge in edges]

    draw.ellipse(at(8, 0, 56, 64), (60, 40, 30))
    draw.ellipse(at(12, 6, 52, 66), (shade, shade - 45, shade - 70))
    for centre in (23, 41):
        draw.ellipse(at(centre - 5.5, 24, centre + 5.5, 30), (245, 240, 235))
        draw.ellipse(at(centre - 2.8, 23.8, centre + 2.8, 29.8), (40, 30, 30))
        draw.rectangle(at(centre - 7, 18, centre + 7, 20.5), (60, 40, 30))
    draw.ellipse(at(27, 39.5, 37, 44), (170, 115, 95))
    draw.ellipse(at(23, 48, 41, 56), (150, 60, 60))
    draw.line(at(23, 51.5, 41, 51.5), (90, 30, 30), width=scale)
    soft = sheet.filter(ImageFilter.GaussianBlur(0.7 * scale))
    return np.asarray(soft.resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("side", [64, 128])
def test_a_drawn_face_is_found_where_it_is(side: int) -> None:
    face = find_face(drawn_face(side))
    assert face.found
    left, top, right, bottom = face.box
    assert abs((left + right) / 2 - 128) < 16
    assert left < 60 < 200 < right
    assert top < 80 < 210 < bottom


def test_its_pixels_shuffled_are_no_face() -> None:
    image_HWC = drawn_face()
    shuffled = np.random.default_rng(0).permutation(image_HWC.reshape(-1, 3)).reshape(64, 64, 3)
    face = find_face(shuffled)
    assert not face.found
    assert face.box == (0, 0, 255, 255)
    assert face_rate([face, find_face(image_HWC)]) == 0.5


def test_mirroring_takes_the_box_along() -> None:
    face = find_face(drawn_face())
    left, top, right, bottom = face.box
    mirrored = face.mirrored()
    assert np.array_equal(
        mirrored.image_HWC[top, mirrored.box[0]], face.image_HWC[top, face.box[2]]
    )
    assert mirrored.box == (255 - right, top, 255 - left, bottom)
    assert mirrored.mirrored().box == face.box


def test_the_margin_takes_the_box_along() -> None:
    face = find_face(drawn_face())
    padded_HWC, (left, top, right, bottom) = face.with_margin()
    inner_HWC = padded_HWC[top : bottom + 1, left : right + 1]
    assert np.array_equal(
        inner_HWC, face.image_HWC[face.box[1] : face.box[3] + 1, face.box[0] : face.box[2] + 1]
    )


def test_embedding_is_nearer_to_the_same_face_in_other_light() -> None:
    face, relit = (embed_face(find_face(drawn_face(shade=shade))) for shade in (215, 205))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    other = embed_face(find_face(noise))
    assert face.shape == (EMBEDDING_LENGTH,)
    assert np.linalg.norm(face - relit) < 0.5 * np.linalg.norm(face - other)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(EvaluationError, match=r"dlib, which is not installed: .*\[eval\]"):
        require("dlib")
    with pytest.raises(EvaluationError, match="no_such_weights, which is not installed"):
        package_folder("no_such_weights")
    assert missing("numpy") is None
    assert "dlib, which is not installed" in str(missing("numpy", "dlib"))
