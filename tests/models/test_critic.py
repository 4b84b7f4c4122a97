"""A checkpoint's critic: the discriminator, whole and unchanged, or one sentence on why not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import (
    Attribute,
    CheckpointError,
    Discriminator,
    Generator,
    GeneratorConfig,
    load_checkpoint,
    load_critic,
    save_checkpoint,
)
from models.checkpoint import _sha256

ATTRIBUTES = (Attribute("gender", ("male", "female"), (0.5, 0.5)),)
CONFIG = GeneratorConfig(8, latent_dim=4, label_dim=2, fmap_base=64, fmap_max=4)


def write(folder: Path, critic: Discriminator | None) -> Path:
    save_checkpoint(
        folder,
        generator=Generator(CONFIG),
        attributes=ATTRIBUTES,
        joint_prior=None,
        provenance={"licence": "none"},
        readme="# card",
        samples_png=b"png",
        critic=critic,
        dtype=torch.float32,
    )
    return folder


@pytest.mark.parametrize("conditioning", ["projection", "auxiliary", "concatenation"])
def test_it_scores_as_before(tmp_path: Path, conditioning: str) -> None:
    critic = Discriminator(CONFIG, conditioning)
    loaded = load_critic(write(tmp_path / "model", critic))
    assert loaded is not None
    assert loaded.conditioning == conditioning
    image, label = torch.randn(4, 3, 8, 8), torch.eye(2)[[0, 1, 0, 1]]
    torch.testing.assert_close(loaded(image, label), critic(image, label), rtol=0, atol=0)


def test_a_checkpoint_may_have_none(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", None)
    assert load_critic(folder) is None
    assert "critic_sha256" not in load_checkpoint(folder).provenance


def with_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Change the critic's tensors, and the recorded sha256 with them."""

    def apply(folder: Path) -> None:
        path = folder / "critic.safetensors"
        state = load_file(path)
        change(state)
        save_file(state, path, metadata={"conditioning": "projection"})
        record(folder)

    return apply


def record(folder: Path) -> None:
    provenance = json.loads((folder / "provenance.json").read_text())
    provenance["critic_sha256"] = _sha256(folder / "critic.safetensors")
    (folder / "provenance.json").write_text(json.dumps(provenance))


def garbage(folder: Path) -> None:
    (folder / "critic.safetensors").write_bytes(b"no weights")
    record(folder)


def other_conditioning(folder: Path) -> None:
    path = folder / "critic.safetensors"
    save_file(load_file(path), path, metadata={"conditioning": "telepathy"})
    record(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "critic.safetensors").write_bytes(b"x"), "is not the file that"),
        (garbage, "no safetensors file"),
        (with_weights(lambda s: s["score.weight"].fill_(float("nan"))), "score.weight holds NaN"),
        (with_weights(lambda s: s.pop("score.weight")), "another network's weights"),
        (with_weights(lambda s: s.update(extra=torch.zeros(1))), "another network's weights"),
        (other_conditioning, "conditioning is 'telepathy'"),
    ],
)
def test_damage_is_one_sentence_that_names_the_file(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    folder = write(tmp_path / "model", Discriminator(CONFIG))
    damage(folder)
    with pytest.raises(CheckpointError, match=f"critic.safetensors.*{sentence}") as caught:
        load_critic(folder)
    assert "\n" not in str(caught.value)
    assert load_checkpoint(folder).name == "model"  # the service does not mind
