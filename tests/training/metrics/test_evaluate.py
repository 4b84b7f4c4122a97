"""From a checkpoint and an archive to the table, with the real judges on a few tiny pictures."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import (
    Attribute,
    Checkpoint,
    Generator,
    GeneratorConfig,
    load_checkpoint,
    save_checkpoint,
)
from training.dataset import Dataset
from training.errors import EvaluationError
from training.metrics import evaluate as evaluate_module
from training.metrics import extractors, sets
from training.metrics.evaluate import draw_labels, evaluate_checkpoint, generate, summary
from training.metrics.extractors import Extractor
from training.prepare import prepare

GENDER = Attribute("gender", ("male", "female"), (0.5, 0.5))
AGE = Attribute(
    "age", ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60+"), (0.4, *[0.1] * 6)
)
COLOUR = Attribute("colour", ("red", "blue"), (0.25, 0.75))


def checkpoint_with(
    folder: Path, attributes: tuple[Attribute, ...], joint_prior: np.ndarray | None = None
) -> Checkpoint:
    torch.manual_seed(0)
    config = GeneratorConfig(
        resolution=16,
        latent_dim=8,
        label_dim=sum(len(a.values) for a in attributes),
        label_embed_dim=4 if attributes else 0,
        fmap_base=64,
        fmap_max=8,
    )
    return save_checkpoint(
        folder,
        generator=Generator(config),
        attributes=attributes,
        joint_prior=joint_prior,
        provenance={},
        readme="",
        samples_png=b"",
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Twelve pictures of 16 px, named as UTKFace names them."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
        (folder / f"{7 * i}_{i % 2}_{i % 5}_{i}.jpg").write_bytes(buffer.getvalue())
    prepare(folder, tmp_path / "faces-16.zip", resolution=16, workers=1)
    return tmp_path / "faces-16.zip"


@pytest.fixture
def cheap_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of the quarters of a picture in the place of a network's features."""
    quarters = Extractor(
        "EfficientNet features",
        "quarters",
        {},
        "0123",
        lambda _, image_NCHW: torch.nn.functional.adaptive_avg_pool2d(image_NCHW, 2).flatten(1),
        comparable=False,
    )
    monkeypatch.setattr(sets, "available_extractors", lambda _: ([quarters], ["No --inception."]))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples will do."""
    monkeypatch.setattr(evaluate_module, "FEWEST", 4)
    monkeypatch.setattr(sets, "NOVELTY_SAMPLES", 2)


@pytest.mark.usefixtures("few", "cheap_extractor")
def test_every_measure_stands_beside_its_baseline(archive: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path / "tiny-16", (GENDER, AGE, COLOUR))
    seen: list[tuple[int, int]] = []
    result = evaluate_checkpoint(
        tmp_path / "tiny-16",
        archive,
        samples=4,
        report=tmp_path / "reports" / "tiny.json",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert json.loads((tmp_path / "reports" / "tiny.json").read_text()) == result
    assert result["checkpoint"] == {"name": "tiny-16", "digest": checkpoint.digest}
    assert result["dataset"]["name"] == "raw"
    # Faces of three sets and of their likely sources, then what the extractor looks at.
    assert seen == [(i, 30) for i in range(1, 31)]
    measures = {m["name"]: m for m in result["measures"]}
    features = [
        f"{measure} of {noun}"
        for noun in ("faces", "EfficientNet features")
        for measure in ("precision", "recall")
    ]
    assert set(measures) >= {
        *features,
        "face found, %",
        "gender as labelled, %",
        "age within a bin of the label, %",
        "Fréchet distance of faces ×10³",
        "Fréchet distance of EfficientNet features",
        "kernel distance (KID) of faces ×10³",
        "kernel distance (KID) of EfficientNet features ×10³",
        "random projections of faces told apart, %",
        "random projections of EfficientNet features told apart, %",
        "repetitions among faces, %",
        "repetitions among EfficientNet features, %",
        "sliced Wasserstein ×10³, mean",
        "sliced Wasserstein ×10³, 16 px",
        "random projections of pictures of 16 px told apart, %",
        "distance to the nearest other sample, median",
        "distance to the nearest training face, median",
        "distance to the nearest training face, 5th percentile",
        "copies of a training face, %",
        "distance between pictures, mean",
        "repetitions among pictures of 16 px, %",
        "distance to the nearest training picture, 5th percentile",
    }
    assert all(np.isfinite([m["generated"], m["real"]]).all() for m in measures.values())
    assert measures["face found, %"]["samples"] == 4
    assert measures["distance to the nearest training face, median"]["samples"] == 2
    nearest = result["nearest_to_training"]
    assert sorted(face["seed"] for face in nearest) == [0, 1]
    assert nearest[0]["distance"] <= nearest[1]["distance"]
    assert np.mean([face["distance"] for face in nearest]) == pytest.approx(
        measures["distance to the nearest training face, median"]["generated"]
    )
    assert all(set(face["labels"]) == {"gender", "age", COLOUR.name} for face in nearest)
    assert f"nearest to training faces, by seed: {nearest[0]['seed']} (" in summary(result)
    swd = measures["sliced Wasserstein ×10³, mean"]
    assert swd["generated"] > swd["real"]
    lines = summary(result).splitlines()
    assert len(lines) == 1 + len(measures) + 1 + len(result["left_out"])
    assert lines[-1] == "No --inception."
    assert lines[0].split() == ["generated", "real", "samples", "better"]
    documented = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert not [name for name in measures if "=" not in name and f"| {name} |" not in documented]


@pytest.mark.usefixtures("few")
def test_a_generator_that_returns_training_pictures_is_caught(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_with(tmp_path / "tiny-16", ())
    training = Dataset(archive).images(16)
    monkeypatch.setattr(extractors, "missing", lambda *modules: "It is not installed.")
    monkeypatch.setattr(
        evaluate_module, "generate", lambda *_: np.array(training[[3, 5, 8, 11]])[:, :, ::-1]
    )
    result = evaluate_checkpoint(tmp_path / "tiny-16", archive, samples=4)
    measures = {m["name"]: m for m in result["measures"]}
    shades = measures["distance to the nearest training picture, 5th percentile"]
    assert shades["generated"] == pytest.approx(0, abs=1e-6)
    assert shades["real"] > 50
    mirrored = measures["distance to the nearest training face, median"]
    assert mirrored["generated"] < mirrored["real"]


@pytest.mark.usefixtures("few")
def test_what_is_missing_is_left_out_and_said(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("dlib", "scipy", extractors.EFFICIENTNET_PACKAGE):
        monkeypatch.setitem(sys.modules, module, None)
    checkpoint_with(tmp_path / "tiny-16", (GENDER,))
    result = evaluate_checkpoint(tmp_path / "tiny-16", archive, samples=4)
    names = [m["name"] for m in result["measures"]]
    assert "sliced Wasserstein ×10³, mean" in names
    assert not any("face" in name or "projections" in name for name in names)
    table = summary(result)
    for sentence in (
        "Faces and their novelty are left out. Measuring pictures needs dlib",
        "Labels are left out. Measuring pictures needs dlib",
        "Random projections are left out. Measuring pictures needs scipy",
        "EfficientNet features are left out. Measuring pictures needs efficientnet_lite0",
        "Inception features are left out: ",
    ):
        assert sentence in table


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("samples", [3, 7])
def test_number_of_samples_must_fit(archive: Path, tmp_path: Path, samples: int) -> None:
    checkpoint_with(tmp_path / "tiny-16", ())
    with pytest.raises(EvaluationError, match=f"{samples} samples .* which has 12 pictures"):
        evaluate_checkpoint(tmp_path / "tiny-16", archive, samples=samples)


def test_pictures_are_those_of_the_seeds(tmp_path: Path) -> None:
    checkpoint_with(tmp_path / "tiny-16", (GENDER,))
    checkpoint = load_checkpoint(tmp_path / "tiny-16")
    index_NA = np.array([[0], [1], [0]])
    pictures = generate(checkpoint, index_NA)
    assert pictures.shape == (3, 16, 16, 3)
    assert pictures.dtype == np.uint8
    z_BZ = torch.from_numpy(np.random.RandomState(1).randn(1, 8).astype(np.float32))
    with torch.inference_mode():
        expected = checkpoint.build()(z_BZ, torch.tensor([[0.0, 1.0]]))
    pixels = (expected[0].permute(1, 2, 0).numpy() * 127.5 + 127.5).round().clip(0, 255)
    assert np.abs(pictures[1] - pixels).max() <= 1


def test_an_unconditional_checkpoint_generates(tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path / "tiny-16", ())
    index_NA = draw_labels(checkpoint, 5, np.random.default_rng(0))
    assert index_NA.shape == (5, 0)
    assert len(generate(checkpoint, index_NA)) == 5


def test_labels_follow_the_joint_prior(tmp_path: Path) -> None:
    joint = np.array([[0.0, 0.25], [0.5, 0.25]])  # no male is red
    genders = Attribute("gender", ("male", "female"), (0.25, 0.75))
    colours = Attribute("colour", ("red", "blue"), (0.5, 0.5))
    checkpoint = checkpoint_with(tmp_path / "tiny-16", (genders, colours), joint)
    index_NA = draw_labels(checkpoint, 4000, np.random.default_rng(0))
    shares = np.zeros((2, 2))
    np.add.at(shares, tuple(index_NA.T), 1 / 4000)
    assert np.abs(shares - joint).max() < 0.03
    assert shares[0, 0] == 0


def test_independent_attributes_follow_their_own_priors(tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path / "tiny-16", (COLOUR, GENDER))
    index_NA = draw_labels(checkpoint, 4000, np.random.default_rng(0))
    assert index_NA.shape == (4000, 2)
    assert np.abs(index_NA.mean(axis=0) - [0.75, 0.5]).max() < 0.03


@pytest.mark.usefixtures("few")
def test_report_that_cannot_be_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "measure", lambda *sets: [])
    monkeypatch.setattr(sets, "missing", lambda *modules: "It is not installed.")
    monkeypatch.setattr(extractors, "missing", lambda *modules: "It is not installed.")
    checkpoint_with(tmp_path / "tiny-16", ())
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match=r"r\.json cannot be written"):
        evaluate_checkpoint(
            tmp_path / "tiny-16", archive, samples=4, report=tmp_path / "file" / "r.json"
        )
