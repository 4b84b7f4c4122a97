import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import models.checkpoint
from models import (
    Attribute,
    Checkpoint,
    CheckpointError,
    Generator,
    GeneratorConfig,
    load_checkpoint,
    save_checkpoint,
)

ATTRIBUTES = (
    Attribute("gender", ("male", "female"), (0.5, 0.5)),
    Attribute("age", ("young", "old", "older"), (0.5, 0.25, 0.25)),
)
JOINT = np.array([[0.25, 0.125, 0.125], [0.25, 0.125, 0.125]])
CONFIG = GeneratorConfig(8, latent_dim=4, label_dim=5, fmap_base=64, fmap_max=4)


def write(folder: Path, generator: Generator | None = None) -> Checkpoint:
    return save_checkpoint(
        folder,
        generator=generator or Generator(CONFIG),
        attributes=ATTRIBUTES,
        joint_prior=JOINT,
        provenance={"licence": "none"},
        readme="# card",
        samples_png=b"png",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    generator = Generator(CONFIG)
    saved = write(tmp_path / "tiny", generator)
    loaded = load_checkpoint(tmp_path / "tiny")
    assert loaded.name == saved.name == "tiny"
    assert loaded.digest == saved.digest == loaded.provenance["weights_sha256"]
    assert loaded.attributes == ATTRIBUTES
    assert loaded.config == CONFIG
    assert loaded.joint_prior is not None
    np.testing.assert_array_equal(loaded.joint_prior, JOINT)
    z, y = torch.randn(3, 4), torch.tensor([[1.0, 0, 0, 1, 0]]).expand(3, -1)
    torch.testing.assert_close(loaded.build()(z, y), generator(z, y), atol=0.02, rtol=0.02)
    names = {p.name for p in (tmp_path / "tiny").iterdir()}
    assert names == {
        "model.safetensors",
        "config.json",
        "provenance.json",
        "README.md",
        "samples.png",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def edit(name: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        change(data)
        (folder / name).write_text(json.dumps(data))

    return apply


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")
        digest = models.checkpoint._sha256(folder / "model.safetensors")
        edit("provenance.json", lambda d: d.update(weights_sha256=digest))(folder)

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 0


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("no weights", remove("model.safetensors"), "model.safetensors is missing"),
    ("no config", remove("config.json"), "config.json is missing"),
    ("no provenance", remove("provenance.json"), "provenance.json is missing"),
    ("cut weights", cut("model.safetensors"), "sha256.*damaged"),
    ("cut config", cut("config.json"), "config.json cannot be read"),
    ("config no object", lambda f: (f / "config.json").write_text("[]") and None, "not a JSON"),
    ("version", edit("config.json", lambda d: d.update(format_version=9)), "format_version"),
    ("architecture", edit("config.json", lambda d: d.update(architecture="x")), "architecture"),
    ("unknown key", edit("config.json", lambda d: d.update(colour=1)), "unknown keys: colour"),
    ("missing key", edit("config.json", lambda d: d.pop("latent_dim")), "latent_dim"),
    ("resolution", edit("config.json", lambda d: d.update(resolution=12)), "resolution is 12"),
    ("not a number", edit("config.json", lambda d: d.update(resolution="8")), "integers"),
    ("attributes", edit("config.json", lambda d: d.update(attributes=[])), "config.json"),
    ("prior", edit("config.json", lambda d: d["attributes"][0].update(prior=[1, 1])), "sums to"),
    ("joint", edit("config.json", lambda d: d.update(joint_prior=[1.0])), "joint_prior"),
    ("width", edit("config.json", lambda d: d.update(fmap_max=2)), "has shape"),
    ("more layers", edit("config.json", lambda d: d.update(resolution=16)), "missing or unknown"),
    (
        "NaN",
        edit_weights(lambda s: s["dense.weight"].fill_(float("nan"))),
        "dense.weight holds NaN",
    ),
    ("size", edit("config.json", lambda d: d.update(latent_dim=10**30)), "no network is larger"),
    ("name", edit("config.json", lambda d: d["attributes"][0].update(name=[1])), "a text"),
    (
        "number",
        edit("config.json", lambda d: d["attributes"][0].update(prior=[10**400, 0])),
        "too large",
    ),
    ("surrogate", edit("provenance.json", lambda d: d.update(licence="\ud800")), "surrogates"),
    ("no JSON", edit("provenance.json", lambda d: d.update(metrics=float("nan"))), "no number"),
    ("deep", edit("provenance.json", lambda d: d.update(metrics=nested(40))), "nested"),
    ("deeper", lambda f: (f / "config.json").write_text("[" * 10**5) and None, "nested"),
    ("long", lambda f: (f / "config.json").write_text(" " * 2**25) and None, "MiB"),
    (
        "integers",
        edit_weights(lambda s: s.update({"dense.weight": s["dense.weight"].int()})),
        "no weights",
    ),
    ("no tensor", edit_weights(lambda s: s.pop("dense.weight")), "dense.weight"),
]


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damage_is_refused_by_name(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "gone"))):
        load_checkpoint(tmp_path / "gone")


def test_a_failed_write_leaves_the_old_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_checkpoint(folder).digest

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models.checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write(folder)
    assert load_checkpoint(folder).digest == before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_checkpoint_is_replaced_whole(folder: Path) -> None:
    (folder / "critic.safetensors").write_bytes(b"of the old one")
    new = write(folder)
    assert load_checkpoint(folder).digest == new.digest
    assert not (folder / "critic.safetensors").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"dear")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        write(tmp_path / "photos")
    assert (tmp_path / "photos" / "mine.jpg").read_bytes() == b"dear"


def test_attributes_must_be_those_of_the_generator(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"5 attribute values but label_dim 0: pass"):
        write(tmp_path / "x", Generator(GeneratorConfig(8, latent_dim=4, fmap_base=64, fmap_max=4)))


@pytest.mark.parametrize(
    ("values", "prior"), [((), ()), (("a", "a"), (0.5, 0.5)), (("a", "b"), (1.0,))]
)
def test_attributes_check_themselves(values: tuple[str, ...], prior: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="attribute"):
        Attribute("x", values, prior)
