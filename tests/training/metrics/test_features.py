"""Looking once, and finding again what was seen."""

import os
from pathlib import Path

import numpy as np
import pytest

from training.errors import EvaluationError
from training.metrics import features as features_module
from training.metrics.extras import missing
from training.metrics.faces import Face
from training.metrics.features import FaceFeatures, face_features
from training.metrics.labels import Judgement


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Judges that answer by the first pixel, and a list of the pictures they were shown."""
    seen: list[int] = []

    def find(image_HWC: np.ndarray) -> Face:
        seen.append(int(image_HWC[0, 0, 0]))
        return Face(image_HWC, (0, 0, 7, 7), found=seen[-1] > 0)

    monkeypatch.setattr(features_module, "find_face", find)
    monkeypatch.setattr(
        features_module, "embed_face", lambda face: face.image_HWC[0, 0].astype(np.float64)
    )
    monkeypatch.setattr(
        features_module, "judge_face", lambda face: Judgement(0.25, float(face.image_HWC[0, 0, 0]))
    )
    return seen


def pictures(*firsts: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), first, np.uint8) for first in firsts])


def test_one_row_per_picture(looks: list[int]) -> None:
    steps: list[None] = []
    features = face_features(pictures(0, 5, 9), advance=lambda: steps.append(None))
    assert features.found_N.tolist() == [False, True, True]
    assert features.embedding_NE.tolist() == [[0, 0, 0], [5, 5, 5], [9, 9, 9]]
    assert features.female_N.tolist() == [0.25] * 3
    assert features.age_N.tolist() == [0, 5, 9]
    assert len(steps) == 3


@pytest.mark.skipif(missing("dlib") is not None, reason="the extra eval is not installed")
def test_several_processes_see_what_one_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same order, though the last part is a short one."""
    image_NHWC = np.random.RandomState(0).randint(0, 256, (5, 16, 16, 3), np.uint8)
    steps: list[None] = []

    def look() -> FaceFeatures:
        return face_features(image_NHWC, advance=lambda: steps.append(None), judged=False)

    alone = look()
    monkeypatch.setattr(features_module, "PART", 2)
    monkeypatch.setattr(features_module, "PARTS_EACH", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    together = look()
    assert np.array_equal(alone.embedding_NE, together.embedding_NE)
    assert len(np.unique(alone.embedding_NE, axis=0)) == 5
    assert len(steps) == 10


def test_a_process_that_is_ended_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "PART", 1)
    monkeypatch.setattr(features_module, "PARTS_EACH", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(features_module, "_start_worker", os.abort)
    with pytest.raises(EvaluationError, match="was ended from outside"):
        face_features(pictures(1, 2, 3), advance=lambda: None)


def test_what_was_seen_is_found_again(looks: list[int], tmp_path: Path) -> None:
    steps: list[None] = []
    first, second = (
        face_features(pictures(4, 5), folder=tmp_path, advance=lambda: steps.append(None))
        for _ in range(2)
    )
    assert looks == [4, 5]
    assert len(steps) == 4
    assert np.array_equal(first.embedding_NE, second.embedding_NE)
    assert np.array_equal(first.found_N, second.found_N)
    face_features(pictures(5, 4), folder=tmp_path, advance=lambda: None)
    assert looks == [4, 5, 5, 4]


def test_gender_and_age_may_be_left_unjudged(looks: list[int], tmp_path: Path) -> None:
    unjudged = face_features(pictures(4), folder=tmp_path, advance=lambda: None, judged=False)
    assert np.isnan([unjudged.age_N, unjudged.female_N]).all()
    assert unjudged.found_N.all()
    assert face_features(pictures(4), folder=tmp_path, advance=lambda: None).age_N.tolist() == [4]
    assert looks == [4, 4]


def test_damaged_and_unwritable_stores_are_no_error(looks: list[int], tmp_path: Path) -> None:
    face_features(pictures(4), folder=tmp_path, advance=lambda: None)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    assert face_features(pictures(4), folder=tmp_path, advance=lambda: None).age_N.tolist() == [4]
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert face_features(pictures(6), folder=blocked, advance=lambda: None).age_N.tolist() == [6]
    assert looks == [4, 4, 6]
