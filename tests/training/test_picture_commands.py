"""`project` and `pictures` as they are typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import ATTRIBUTES, JOINT_PRIOR, tiny_generator
from typer.testing import CliRunner

from models import save_checkpoint
from training.__main__ import app
from training.errors import ConfigError, DatasetError
from training.gallery import render
from training.grids import grid
from training.presets import smoke_16


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(
        tmp_path / "tiny",
        generator=tiny_generator(),
        attributes=ATTRIBUTES,
        joint_prior=JOINT_PRIOR,
        provenance={},
        readme="",
        samples_png=b"",
        dtype=torch.float32,
    )
    return tmp_path / "tiny"


def typed(*arguments: object) -> str:
    """What the command prints; an error of the package is raised, as `main` would render it."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_project_says_how_near_it_came_and_writes_the_latent(
    checkpoint: Path, tmp_path: Path
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(render(tiny_generator(), range(1), ATTRIBUTES, JOINT_PRIOR)[0]).save(photo)
    output = typed(
        "project", photo, checkpoint, out, "--label", "age=20+", "--steps", 20, "--unchecked"
    )
    assert "perceptual distance" in output
    assert "age=20+" in output
    assert json.loads((out / "latent.json").read_text())["labels"]["age"] == "20+"


def test_project_refuses_a_picture_without_anything(checkpoint: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.new("RGB", (64, 64), "grey").save(photo)
    with pytest.raises(DatasetError, match=r"photo\.png is one flat colour"):
        typed("project", photo, checkpoint, out)
    assert not out.exists()


def test_pictures_are_written_as_far_as_a_run_allows(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(smoke_16().to_dict()))
    for kimg in (1, 2):
        faces = np.full((64, 16, 16, 3), 50 * kimg, np.uint8)
        grid(faces, 8).save(tmp_path / "samples" / f"{kimg:06d}k.png")
    output = typed("pictures", tmp_path)
    assert "timelapse.webp" in output
    assert "they need --data" in output
    assert (tmp_path / "pictures" / "timelapse.webp").is_file()


def test_pictures_of_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        typed("pictures", tmp_path)
