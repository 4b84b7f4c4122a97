"""The discriminators beside a checkpoint's critic: whole, or one sentence on why not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models import (
    CheckpointError,
    Generator,
    GeneratorConfig,
    load_checkpoint,
    load_companions,
    save_checkpoint,
)
from models.checkpoint import _sha256

FILE = "companions.safetensors"
COMPANIONS = {
    "patches": {"detail": torch.tensor([1.0, 2.0]), "halve.0.bias": torch.tensor([[3.0]])},
    "variety": {"mix0": torch.tensor(4.0)},
}


def write(folder: Path, companions: dict[str, dict[str, torch.Tensor]] | None) -> Path:
    save_checkpoint(
        folder,
        generator=Generator(GeneratorConfig(8, latent_dim=4, fmap_base=64, fmap_max=4)),
        attributes=(),
        joint_prior=None,
        provenance={"licence": "none"},
        readme="# card",
        samples_png=b"png",
        companions=companions,
    )
    return folder


def test_each_comes_back_under_its_name(tmp_path: Path) -> None:
    loaded = load_companions(write(tmp_path / "model", COMPANIONS))
    assert loaded.keys() == COMPANIONS.keys()
    for companion, tensors in COMPANIONS.items():
        assert loaded[companion].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(loaded[companion][name], tensor)


@pytest.mark.parametrize("companions", [None, {}])
def test_a_checkpoint_may_have_none(
    tmp_path: Path, companions: dict[str, dict[str, torch.Tensor]] | None
) -> None:
    folder = write(tmp_path / "model", companions)
    assert load_companions(folder) == {}
    assert "companions_sha256" not in load_checkpoint(folder).provenance
    assert not (folder / FILE).exists()


def not_finite(path: Path) -> None:
    save_file({"patches.detail": torch.tensor([float("nan")])}, path)


def recorded(damage: Callable[[Path], object]) -> Callable[[Path], None]:
    """The damage, and its sha256 in the provenance."""

    def apply(path: Path) -> None:
        damage(path)
        provenance = path.with_name("provenance.json")
        facts = json.loads(provenance.read_text())
        provenance.write_text(json.dumps({**facts, "companions_sha256": _sha256(path)}))

    return apply


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(b"x"), "is not the file that"),
        (recorded(lambda path: path.write_bytes(b"x")), "no safetensors file"),
        (recorded(not_finite), "patches.detail holds NaN"),
    ],
)
def test_damage_is_one_sentence_that_names_the_file(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    folder = write(tmp_path / "model", COMPANIONS)
    damage(folder / FILE)
    with pytest.raises(CheckpointError, match=f"{FILE}.*{sentence}") as caught:
        load_companions(folder)
    assert "\n" not in str(caught.value)
    assert load_checkpoint(folder).name == "model"  # the service does not mind
