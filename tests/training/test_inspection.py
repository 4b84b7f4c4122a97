"""Sheets to judge a checkpoint by: the worst are the worst, the nearest nearest, a quiz is fair."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import ATTRIBUTES, JOINT_PRIOR, tiny_generator
from training_archives import write_archive

import training.inspection
from models import Discriminator, load_checkpoint, load_critic, save_checkpoint
from training.errors import ConfigError
from training.grids import cells
from training.inspection import COLUMNS, Samples, draw_samples, inspect, least_liked, nearest, quiz

LABELS = {a.name: list(a.values) for a in ATTRIBUTES}


def checkpoint(folder: Path, *, critic: bool = True) -> Path:
    generator = tiny_generator()
    torch.manual_seed(1)
    save_checkpoint(
        folder,
        generator=generator,
        attributes=ATTRIBUTES,
        joint_prior=JOINT_PRIOR,
        provenance={},
        readme="",
        samples_png=b"",
        critic=Discriminator(generator.config) if critic else None,
    )
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    values = list(LABELS.values())
    return write_archive(
        tmp_path / "noise.zip",
        attributes=LABELS,
        label=lambda i: [i % len(v) for v in values],
    )


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_the_least_liked_come_first_with_their_seeds():
    score_N = np.random.default_rng(0).permutation(100).astype(float)
    made = Samples(noise(100, 0), score_N)
    sheet, text = least_liked(made)
    shown = cells(opened(sheet), 128)[:, ::8, ::8]
    order = np.argsort(score_N)[:64]
    assert np.array_equal(shown, made.image_NHWC[order])
    assert text.decode().splitlines()[0] == f"seed {order[0]}: 0.00"


def test_a_score_does_not_depend_on_company(tmp_path: Path):
    folder = checkpoint(tmp_path / "c")
    loaded, critic = load_checkpoint(folder), load_critic(folder)
    few, many = draw_samples(loaded, critic, 3), draw_samples(loaded, critic, 20)
    np.testing.assert_allclose(few.score_N, many.score_N[:3], rtol=1e-4, atol=1e-5)
    assert draw_samples(loaded, None, 3).score_N is None


def test_a_quiz_has_as_many_of_each_and_its_solution_is_right():
    made, real = noise(50, 0), noise(60, 1)
    sheet, text = quiz(made, real, seed=3)
    shown = cells(opened(sheet), 128)[:, ::8, ::8]
    solution = text.decode().split()
    assert solution.count("real") == solution.count("made") == 32
    for picture, truth in zip(shown, solution, strict=True):
        pool = real if truth == "real" else made
        assert (pool == picture).all(axis=(1, 2, 3)).any()
    assert all(len(row.split()) == COLUMNS for row in text.decode().splitlines())
    assert quiz(made, real, seed=3)[1] == text
    assert quiz(made, real, seed=4)[1] != text


def test_a_copy_of_a_training_picture_leads_the_nearest_beside_its_source():
    real, made = noise(80, 1), noise(30, 0)
    made[17] = real[5, :, ::-1]  # in the mirror
    sheet = opened(nearest(made, real, real, lambda image: image.mean(axis=(1, 2)).sum()[None]))
    margin = sheet.width - 2 * 128
    pictures = cells(sheet.crop((margin, 0, sheet.width, sheet.height)), 128)[:, ::8, ::8]
    assert len(pictures) == 2 * 12
    assert np.array_equal(pictures[0], made[17])
    assert np.array_equal(pictures[1], real[5])


def test_what_a_checkpoint_has_no_critic_for_is_said(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training.inspection, "SUSPECTS", 4)  # each is looked at by dlib
    with_one, without = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b", critic=False)
    files, _ = inspect(with_one, archive, tmp_path / "out", samples=64)
    assert {"real-or-not.png", "least-liked.png"} <= {f.name for f in files}
    files, left_out = inspect(without, archive, tmp_path / "out2", samples=64)
    assert "least-liked.png" not in {f.name for f in files}
    assert "export it with --critic" in left_out[0]


def test_too_few_samples_are_refused(tmp_path: Path, archive: Path):
    with pytest.raises(ConfigError, match="at least 64"):
        inspect(checkpoint(tmp_path / "a"), archive, tmp_path / "out", samples=63)
    assert not (tmp_path / "out").exists()
