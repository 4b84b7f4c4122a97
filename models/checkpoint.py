"""The only reader and writer of the checkpoint format (docs/checkpoint-format.md).

A checkpoint is a folder: `model.safetensors`, `config.json`, `provenance.json`, `README.md`,
`samples.png`, and `critic.safetensors` where training may go on from it or the service choose among
its faces. It is read strictly and written atomically. Knows nothing about training or HTTP.
"""

import dataclasses
import hashlib
import json
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
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.critic import critic_bytes, read_critic
from models.discriminator import Discriminator
from models.generator import PIXEL_NORMS, Generator, GeneratorConfig
from models.strict_json import read_object

FORMAT_VERSION = 1
ARCHITECTURE = "progan"
WEIGHTS, CONFIG, PROVENANCE = "model.safetensors", "config.json", "provenance.json"
CARD, SAMPLES, CRITIC = "README.md", "samples.png", "critic.safetensors"
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MAX_SIZE = 1 << 20
"""Of every number that sizes the network: far above, torch itself overflows."""


class CheckpointError(Exception):
    """A checkpoint cannot be read or written: names the file, the reason and the remedy."""


@dataclass(frozen=True)
class Attribute:
    """One dimension of the label. Raises ValueError where it cannot be one."""

    name: str
    values: tuple[str, ...]
    prior: tuple[float, ...]
    """Share of each value in the training set."""

    def __post_init__(self) -> None:
        if not self.name or len(self.values) < 1 or len(set(self.values)) != len(self.values):
            raise ValueError(f"attribute {self.name!r} needs a name and distinct values")
        _check_prior(f"prior of attribute {self.name!r}", np.array(self.prior), len(self.values))


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
    provenance = _read_json(folder / PROVENANCE)
    digest = _sha256(folder / WEIGHTS)
    if provenance.get("weights_sha256") != digest:
        raise CheckpointError(
            f"{folder / WEIGHTS} is not the file that {PROVENANCE} describes (its sha256 is "
            f"{digest[:12]}…): it is damaged or was replaced; restore it or export again"
        )
    config, attributes, joint_prior = _read_config(folder / CONFIG)
    state = _read_weights(folder / WEIGHTS, config)
    return Checkpoint(
        folder.resolve().name, config, state, attributes, joint_prior, provenance, digest
    )


def load_critic(folder: str | Path, of: Checkpoint | None = None) -> Discriminator | None:
    """The discriminator that a checkpoint carries, if it does. Raises CheckpointError.

    `of`: the checkpoint that was read from the folder; another's critic is refused then.
    """
    folder = Path(folder)
    path = folder / CRITIC
    if not path.is_file():
        return None
    provenance = _read_json(folder / PROVENANCE) if of is None else of.provenance
    if provenance.get("critic_sha256") != _sha256(path):
        raise CheckpointError(
            f"{path} is not the file that {PROVENANCE} describes: restore it or export again"
        )
    config, *_ = _read_config(folder / CONFIG)
    try:
        return read_critic(str(path), config)
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
    dtype: torch.dtype = torch.float16,
) -> Checkpoint:
    """Write a checkpoint folder atomically and return it as read back.

    An existing checkpoint of that name is replaced; until the new one is whole it stays. Raises
    CheckpointError where the folder cannot be written or holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} exists and is no checkpoint: choose another folder")
    labels = sum(len(a.values) for a in attributes)
    if labels != generator.config.label_dim:
        raise CheckpointError(
            f"the attributes have {labels} values but the generator takes "
            f"{generator.config.label_dim}: pass those it was trained with"
        )
    # Same name inside a temporary folder, so that the copy is verified under its own name.
    holder = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial, replaced = holder / folder.name, holder / "replaced"
    try:
        shutil.rmtree(holder, ignore_errors=True)
        partial.mkdir(parents=True)
        weights = generator.state_dict()
        state = {k: v.detach().cpu().to(dtype).contiguous() for k, v in weights.items()}
        save_file(state, partial / WEIGHTS)
        (partial / WEIGHTS).chmod(0o644)  # safetensors makes it the owner's alone
        config = {
            "format_version": FORMAT_VERSION,
            "architecture": ARCHITECTURE,
            **_described(generator.config),
            "attributes": [dataclasses.asdict(a) for a in attributes],
            "joint_prior": None if joint_prior is None else joint_prior.tolist(),
        }
        _write_json(partial / CONFIG, config)
        digests = {"weights_sha256": _sha256(partial / WEIGHTS)}
        if critic is not None:
            (partial / CRITIC).write_bytes(critic_bytes(critic, dtype))
            digests["critic_sha256"] = _sha256(partial / CRITIC)
        _write_json(partial / PROVENANCE, {**provenance, **digests})
        (partial / CARD).write_text(readme, encoding="utf-8")
        (partial / SAMPLES).write_bytes(samples_png)
        checkpoint = load_checkpoint(partial)
        load_critic(partial)
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


def _described(config: GeneratorConfig) -> dict[str, Any]:
    """Its fields; `pixel_norms` only where they are not all there, as in imported weights."""
    fields = dataclasses.asdict(config)
    if config.pixel_norms == PIXEL_NORMS:
        del fields["pixel_norms"]
    return fields


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): restore it") from error


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _read_config(
    path: Path,
) -> tuple[GeneratorConfig, tuple[Attribute, ...], NDArray[np.float64] | None]:
    data = _read_json(path)
    if data.pop("format_version", None) != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format_version is not {FORMAT_VERSION}: use the release that wrote it"
        )
    if data.pop("architecture", None) != ARCHITECTURE:
        raise CheckpointError(f"{path}: architecture is not {ARCHITECTURE!r}")
    norms = data.pop("pixel_norms", list(PIXEL_NORMS))
    shape = {field.name for field in dataclasses.fields(GeneratorConfig)} - {"pixel_norms"}
    expected = shape | {"attributes", "joint_prior"}
    if set(data) != expected:
        odd = ", ".join(sorted(set(data) ^ expected))
        raise CheckpointError(f"{path}: missing or unknown keys: {odd}")
    try:
        fields = {name: data[name] for name in shape}
        if not all(type(value) is int for value in fields.values()):
            raise ValueError("network sizes must be integers")
        if max(fields.values()) > MAX_SIZE:
            raise ValueError(f"no network is larger than {MAX_SIZE}")
        config = GeneratorConfig(**fields, pixel_norms=tuple(map(str, norms)))
        attributes = tuple(
            Attribute(_name(a["name"]), tuple(map(str, a["values"])), tuple(map(float, a["prior"])))
            for a in data["attributes"]
        )
        joint = None
        if data["joint_prior"] is not None:
            joint = np.array(data["joint_prior"], dtype=np.float64)
            shape_A = tuple(len(a.values) for a in attributes)
            if joint.shape != shape_A:
                raise ValueError(f"joint_prior has shape {joint.shape}, not {shape_A}")
            _check_prior("joint_prior", joint.ravel(), joint.size)
        labels = sum(len(a.values) for a in attributes)
        if labels != config.label_dim:
            raise ValueError(f"{labels} attribute values but label_dim {config.label_dim}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    return config, attributes, joint


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("the name of an attribute is a text")
    return value


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


def _check_prior(what: str, prior: NDArray[np.float64], length: int) -> None:
    if len(prior) != length or not np.isfinite(prior).all() or (prior < 0).any():
        raise ValueError(f"{what} needs {length} shares of 0 or more")
    if abs(prior.sum() - 1) > 1e-6:
        raise ValueError(f"{what} sums to {prior.sum():.6f}, not 1")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
