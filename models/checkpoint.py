"""The only reader and writer of the checkpoint format (docs/checkpoint-format.md).

A checkpoint is a folder: `model.safetensors`, `config.json`, `provenance.json`, `README.md`,
`samples.png`, and `critic.safetensors` where training may go on from it or the service choose among
its faces, with `companions.safetensors` where other discriminators stood beside that critic. It is
read strictly and written atomically. Knows nothing about training or HTTP.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from models.companions import Weights, companions_bytes, read_companions
from models.critic import critic_bytes, read_critic
from models.description import Attribute, CheckpointError, Description, read_json, write_json
from models.discriminator import Discriminator
from models.generator import Generator, GeneratorConfig

WEIGHTS, CONFIG, PROVENANCE = "model.safetensors", "config.json", "provenance.json"
CARD, SAMPLES = "README.md", "samples.png"
CRITIC, COMPANIONS = "critic.safetensors", "companions.safetensors"
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class Checkpoint:
    """A generator with all that is needed to use and to describe it."""

    name: str
    config: GeneratorConfig
    state: Mapping[str, Tensor]
    """Weights of the averaged generator, float32, unfolded."""
    attributes: tuple[Attribute, ...]
    joint_prior: NDArray[np.float64] | None
    """Share of each combination of values in the training set, one axis per attribute; None
    where the attributes are to be drawn independently."""
    provenance: Mapping[str, Any]
    digest: str
    """sha256 of `model.safetensors`, hex."""
    config_digest: str
    """sha256 of `config.json`, hex: the same weights make other pictures by another one."""

    def lineage(self) -> dict[str, Any]:
        """Which weights these are and what they came from, for what comes of them."""
        known = {
            key: self.provenance.get(key) for key in ("images_seen", "origin", "averaged_with")
        }
        training = self.provenance.get("training")
        known["companion_weights"] = {
            name: part["weight"]
            for name, part in (training if isinstance(training, dict) else {}).items()
            if isinstance(part, dict) and part.get("weight")
        }
        return {"name": self.name, "weights_sha256": self.digest, **known}

    def build(self) -> Generator:
        """A generator with these weights, in evaluation mode."""
        generator = Generator(self.config)
        generator.load_state_dict(dict(self.state))
        return generator.eval().requires_grad_(False)


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder, strictly.

    Raises CheckpointError for a missing file, an unknown version or key, a wrong shape, a number
    that is not finite, or weights whose sha256 is not the recorded one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"checkpoint {folder} does not exist: name a folder that holds {WEIGHTS}"
        )
    for name in (WEIGHTS, CONFIG, PROVENANCE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing: restore it or export again")
    provenance = read_json(folder / PROVENANCE)
    digest = _sha256(folder / WEIGHTS)
    if provenance.get("weights_sha256") != digest:
        raise CheckpointError(
            f"{folder / WEIGHTS} is not the file that {PROVENANCE} describes (its sha256 is "
            f"{digest[:12]}…): it is damaged or was replaced; restore it or export again"
        )
    described = Description.read(folder / CONFIG)
    return Checkpoint(
        name=folder.resolve().name,
        config=described.config,
        state=_read_weights(folder / WEIGHTS, described.config),
        attributes=described.attributes,
        joint_prior=described.joint_prior,
        provenance=provenance,
        digest=digest,
        config_digest=_sha256(folder / CONFIG),
    )


def load_critic(folder: str | Path, of: Checkpoint | None = None) -> Discriminator | None:
    """The discriminator that a checkpoint carries, if it does. Raises CheckpointError.

    `of`: the checkpoint that was read from the folder; another's critic is refused then.
    """
    folder = Path(folder)
    path = folder / CRITIC
    if not path.is_file():
        return None
    provenance = read_json(folder / PROVENANCE) if of is None else of.provenance
    _check_digest(path, provenance.get("critic_sha256"))
    config = Description.read(folder / CONFIG).config
    try:
        return read_critic(str(path), config)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}: restore it or export again") from error


def load_companions(folder: str | Path) -> dict[str, dict[str, Tensor]]:
    """The weights of the discriminators beside its critic that a checkpoint carries, by name.

    Empty where it carries none. Raises CheckpointError.
    """
    path = Path(folder) / COMPANIONS
    if not path.is_file():
        return {}
    _check_digest(path, read_json(Path(folder) / PROVENANCE).get("companions_sha256"))
    try:
        return read_companions(str(path))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}: restore it or export again") from error


def save_checkpoint(
    folder: str | Path,
    *,
    generator: Generator,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
    provenance: Mapping[str, Any],
    readme: str,
    samples_png: bytes,
    critic: Discriminator | None = None,
    companions: Weights | None = None,
    dtype: torch.dtype = torch.float16,
) -> Checkpoint:
    """Write a checkpoint folder atomically and return it as read back.

    An existing checkpoint of that name is replaced; until the new one is whole it stays. Raises
    CheckpointError where the folder cannot be written or holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} exists and is no checkpoint: choose another folder")
    try:
        description = Description(generator.config, tuple(attributes), joint_prior)
    except ValueError as error:
        raise CheckpointError(f"{error}: pass the attributes it was trained with") from error
    # Same name inside a temporary folder, so that the copy is verified under its own name.
    holder = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial, replaced = holder / folder.name, holder / "replaced"
    try:
        shutil.rmtree(holder, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_stored(generator, dtype), partial / WEIGHTS)
        (partial / WEIGHTS).chmod(0o644)  # safetensors makes it the owner's alone
        description.write(partial / CONFIG)
        digests = {"weights_sha256": _sha256(partial / WEIGHTS)}
        if critic is not None:
            (partial / CRITIC).write_bytes(critic_bytes(critic, dtype))
            digests["critic_sha256"] = _sha256(partial / CRITIC)
        if companions:
            (partial / COMPANIONS).write_bytes(companions_bytes(companions, dtype))
            digests["companions_sha256"] = _sha256(partial / COMPANIONS)
        write_json(partial / PROVENANCE, {**provenance, **digests})
        (partial / CARD).write_text(readme, encoding="utf-8")
        (partial / SAMPLES).write_bytes(samples_png)
        checkpoint = load_checkpoint(partial)
        load_critic(partial)
        load_companions(partial)
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise CheckpointError(
            f"checkpoint {folder} cannot be written ({error}): free some space or make the place "
            "writable; what was there before is untouched"
        ) from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return checkpoint


def weights_digest(generator: Generator, dtype: torch.dtype = torch.float16) -> str:
    """The `digest` that a checkpoint of this generator will have."""
    return hashlib.sha256(save(_stored(generator, dtype))).hexdigest()


def _check_digest(path: Path, recorded: object) -> None:
    if recorded != _sha256(path):
        raise CheckpointError(
            f"{path} is not the file that {PROVENANCE} describes: restore it or export again"
        )


def _stored(generator: Generator, dtype: torch.dtype) -> dict[str, Tensor]:
    weights = generator.state_dict()
    return {k: v.detach().cpu().to(dtype).contiguous() for k, v in weights.items()}


def _read_weights(path: Path, config: GeneratorConfig) -> dict[str, Tensor]:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is no safetensors file ({error}): restore it") from error
    with torch.device("meta"):
        expected = {k: v.shape for k, v in Generator(config).state_dict().items()}
    if set(state) != set(expected):
        odd = ", ".join(sorted(set(state) ^ set(expected))[:4])
        raise CheckpointError(f"{path} does not fit {CONFIG}: missing or unknown tensors: {odd}")
    for name, tensor in state.items():
        if tensor.shape != expected[name]:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, {CONFIG} asks for "
                f"{tuple(expected[name])}"
            )
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: {name} holds {tensor.dtype}, no weights: export again")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinity: export again")
    return {name: tensor.float() for name, tensor in state.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
