"""What a checkpoint's `config.json` says: the network's sizes, and what its labels mean.

Read strictly: nothing unknown, nothing missing, sizes before anything is made of them. Knows
nothing about weights.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.generator import PIXEL_NORMS, GeneratorConfig
from models.strict_json import read_object

FORMAT_VERSION = 1
ARCHITECTURE = "progan"
MAX_SIZE = 1 << 20
"""Of every number that sizes the network: far above, torch itself overflows."""
SIZES = tuple(f.name for f in dataclasses.fields(GeneratorConfig) if f.name != "pixel_norms")


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
class Description:
    """All that the file says. Raises ValueError where its parts do not fit each other."""

    config: GeneratorConfig
    attributes: tuple[Attribute, ...]
    joint_prior: NDArray[np.float64] | None
    """Share of each combination of values in the training set, one axis per attribute; None
    where the attributes are to be drawn independently."""

    def __post_init__(self) -> None:
        shape_A = tuple(len(a.values) for a in self.attributes)
        if self.joint_prior is not None:
            if self.joint_prior.shape != shape_A:
                raise ValueError(f"joint_prior has shape {self.joint_prior.shape}, not {shape_A}")
            _check_prior("joint_prior", self.joint_prior.ravel(), self.joint_prior.size)
        if sum(shape_A) != self.config.label_dim:
            raise ValueError(
                f"{sum(shape_A)} attribute values but label_dim {self.config.label_dim}"
            )

    def write(self, path: Path) -> None:
        """Raises OSError."""
        sizes = dataclasses.asdict(self.config)
        # Only where not all are there, as in imported weights.
        if self.config.pixel_norms == PIXEL_NORMS:
            del sizes["pixel_norms"]
        data = {
            "format_version": FORMAT_VERSION,
            "architecture": ARCHITECTURE,
            **sizes,
            "attributes": [dataclasses.asdict(a) for a in self.attributes],
            "joint_prior": None if self.joint_prior is None else self.joint_prior.tolist(),
        }
        write_json(path, data)

    @classmethod
    def read(cls, path: Path) -> "Description":
        """Raises CheckpointError."""
        data = read_json(path)
        if data.pop("format_version", None) != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format_version is not {FORMAT_VERSION}: use the release that wrote it"
            )
        if data.pop("architecture", None) != ARCHITECTURE:
            raise CheckpointError(f"{path}: architecture is not {ARCHITECTURE!r}")
        norms = data.pop("pixel_norms", list(PIXEL_NORMS))
        expected = {*SIZES, "attributes", "joint_prior"}
        if set(data) != expected:
            odd = ", ".join(sorted(set(data) ^ expected))
            raise CheckpointError(f"{path}: missing or unknown keys: {odd}")
        try:
            return cls(
                _config({name: data[name] for name in SIZES}, norms),
                tuple(_attribute(attribute) for attribute in data["attributes"]),
                None
                if data["joint_prior"] is None
                else np.array(data["joint_prior"], dtype=np.float64),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Raises CheckpointError."""
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): restore it") from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Raises OSError, and ValueError for what JSON has not."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _config(sizes: dict[str, Any], norms: Any) -> GeneratorConfig:
    if not all(type(value) is int for value in sizes.values()):
        raise ValueError("network sizes must be integers")
    if max(sizes.values()) > MAX_SIZE:
        raise ValueError(f"no network is larger than {MAX_SIZE}")
    return GeneratorConfig(**sizes, pixel_norms=tuple(map(str, norms)))


def _attribute(data: Any) -> Attribute:
    if not isinstance(data["name"], str):
        raise TypeError("the name of an attribute is a text")
    return Attribute(
        data["name"], tuple(map(str, data["values"])), tuple(map(float, data["prior"]))
    )


def _check_prior(what: str, prior: NDArray[np.float64], length: int) -> None:
    if len(prior) != length or not np.isfinite(prior).all() or (prior < 0).any():
        raise ValueError(f"{what} needs {length} shares of 0 or more")
    if abs(prior.sum() - 1) > 1e-6:
        raise ValueError(f"{what} sums to {prior.sum():.6f}, not 1")
