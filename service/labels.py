"""What the loaded checkpoint declares, above all its attributes: parse, complete, encode.

Knows nothing about HTTP or about how a picture is computed. What a request leaves open is
drawn from the training set's distribution, conditioned on what it gives and decided by the
seed alone: so a seed is one face.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameter
from service.params import RESERVED

_RANGE = re.compile(r"([0-9]{1,9})\s*[-–]\s*([0-9]{1,9})")
_FROM = re.compile(r"([0-9]{1,9})\s*\+")
_NUMBER = re.compile(r"[0-9]{1,9}")
MAX_NUMBER = 10**9 - 1
"""The greatest number that is looked for in the ranges."""


@dataclass(frozen=True)
class Attribute:
    """A named label dimension: its values in order, and how often training saw each."""

    name: str
    values: tuple[str, ...]
    prior: tuple[float, ...]
    """Sums to 1; one entry per value."""

    def find(self, text: str) -> int | None:
        """Index of the value `text` means: its name in any case, or a number in its range."""
        wanted = text.strip().casefold()
        for index, value in enumerate(self.values):
            if value.casefold() == wanted:
                return index
        if _NUMBER.fullmatch(wanted):
            for index, value in enumerate(self.values):
                if _covers(value, int(wanted)):
                    return index
        return None


class AttributeSpace:
    """All attributes of one model. L, the label vector's length, is the sum of their values.

    `joint_prior`: float64 array with one axis per attribute; None: the attributes are drawn
    independently. Raises ValueError where the declaration cannot be offered as parameters.
    """

    def __init__(
        self, attributes: Sequence[Attribute] = (), joint_prior: NDArray[np.float64] | None = None
    ) -> None:
        self.attributes = tuple(attributes)
        self.names = tuple(attribute.name for attribute in self.attributes)
        self.label_dim = sum(len(attribute.values) for attribute in self.attributes)
        self._by_name = dict(zip(self.names, self.attributes, strict=True))
        self._check(joint_prior)
        self._joint = None if joint_prior is None else np.asarray(joint_prior, np.float64)
        self._cumulative = lru_cache(1024)(self._cumulative_shares)

    def parse(self, name: str, text: str) -> str | InvalidParameter:
        """The canonical value of attribute `name` that `text` means, or why it means none."""
        attribute = self._by_name[name]
        index = attribute.find(text)
        if index is not None:
            return attribute.values[index]
        detail = f"{name}={text} is not known; allowed: {', '.join(attribute.values)}."
        return InvalidParameter(name, detail, attribute.values)

    def complete(self, given: Mapping[str, str], seed: str) -> dict[str, str]:
        """A value for every attribute: `given` kept, the others drawn by `seed`.

        One attribute after the other, each conditioned on all that is settled before it and
        on all that is given. A combination that training never saw falls back on the
        attributes' own priors.
        """
        settled = {
            axis: attribute.values.index(given[attribute.name])
            for axis, attribute in enumerate(self.attributes)
            if attribute.name in given
        }
        for axis, attribute in enumerate(self.attributes):
            if axis not in settled:
                cumulative = self._cumulative(axis, frozenset(settled.items()))
                # Never one whose share is 0.
                drawn = _uniform(seed, attribute.name) * cumulative[-1]
                settled[axis] = bisect_right(cumulative, drawn)
        return {
            attribute.name: attribute.values[settled[axis]]
            for axis, attribute in enumerate(self.attributes)
        }

    def decides(self, given: Mapping[str, str], labels: Mapping[str, str]) -> Callable[[str], bool]:
        """Whether a seed has exactly the complete `labels` where `given` are asked for.

        For who looks at many seeds: it says no as soon as one attribute is drawn otherwise.
        """
        settled: dict[int, int] = {}
        for axis, attribute in enumerate(self.attributes):
            if attribute.name in given:
                settled[axis] = attribute.values.index(given[attribute.name])
        drawn = []
        for axis, attribute in enumerate(self.attributes):
            if axis not in settled:
                cumulative = self._cumulative(axis, frozenset(settled.items()))
                settled[axis] = attribute.values.index(labels[attribute.name])
                drawn.append((attribute.name, cumulative, settled[axis]))
        return lambda seed: all(
            bisect_right(cumulative, _uniform(seed, name) * cumulative[-1]) == index
            for name, cumulative, index in drawn
        )

    def encode(self, labels: Mapping[str, str]) -> NDArray[np.float32]:
        """A complete set of labels → y_L: the attributes' one-hots in a row."""
        y_L = np.zeros(self.label_dim, np.float32)
        start = 0
        for attribute in self.attributes:
            y_L[start + attribute.values.index(labels[attribute.name])] = 1.0
            start += len(attribute.values)
        return y_L

    def _cumulative_shares(self, axis: int, settled: frozenset[tuple[int, int]]) -> list[float]:
        """Of the values of attribute `axis`, where attributes and values by index are settled."""
        weights = self._joint
        if weights is not None:
            for other, index in settled:
                weights = _restrict(weights, other, index)
        if weights is None or not weights.sum() > 0:
            shares = np.asarray(self.attributes[axis].prior, np.float64)
        else:
            shares = weights.sum(axis=tuple(a for a in range(weights.ndim) if a != axis))
        return [float(share) for share in np.cumsum(shares)]

    def _check(self, joint_prior: NDArray[np.float64] | None) -> None:
        folded = [name.casefold() for name in self.names]
        # A morph takes each attribute for one end, too.
        reserved = {*RESERVED, *(f"{end}_{name}" for end in ("from", "to") for name in folded)}
        for name in self.names:
            if name.casefold() in reserved:
                raise ValueError(f"an attribute may not be called {name!r}: a parameter is")
        if len(set(folded)) < len(folded):
            raise ValueError(f"attribute names differ only by case: {', '.join(self.names)}")
        for attribute in self.attributes:
            if len({value.casefold() for value in attribute.values}) < len(attribute.values):
                raise ValueError(f"values of {attribute.name!r} differ only by case")
        shape = tuple(len(attribute.values) for attribute in self.attributes)
        if joint_prior is not None and np.shape(joint_prior) != shape:
            raise ValueError(f"the joint prior is {np.shape(joint_prior)}, the attributes {shape}")


@dataclass(frozen=True)
class ModelSpec:
    """What a loaded model is, to everyone but the engine."""

    name: str
    digest: str
    """sha256 of the weights, hex."""
    resolution: int
    """Native side of the picture in pixels."""
    latent_dim: int
    """Z: length of the latent vector."""
    space: AttributeSpace
    licence: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Measures of image quality, as the checkpoint states them."""
    engine: str = ""
    """What computes it, e.g. "openvino 2026.4.1 cpu (AVX512 bf16 amx) bf16"."""
    critic: str = ""
    """What judges its pictures, and how exactly; empty: its checkpoint has no critic."""
    config_digest: str = ""
    """sha256 of the checkpoint's description, hex."""

    @property
    def identity(self) -> str:
        """`name@digest12`, as in X-Model."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def source(self) -> str:
        """Names all that a picture of some latent depends on, and what it says of its model."""
        return "\n".join((self.name, self.digest, self.config_digest, self.engine))


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand in X-Labels and in a picture: `gender=female&age=60%2B`."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in labels.items())


_quoted = lru_cache(1024)(quote_plus)


def _covers(value: str, number: int) -> bool:
    """Whether a value named like a range ("30-39", "60+") covers `number`."""
    if match := _RANGE.fullmatch(value):
        return int(match[1]) <= number <= int(match[2])
    if match := _FROM.fullmatch(value):
        return number >= int(match[1])
    return False


def _restrict(weights: NDArray[np.float64], axis: int, index: int) -> NDArray[np.float64]:
    """`weights` with everything but `index` on `axis` impossible."""
    only = np.zeros_like(weights)
    where = (slice(None),) * axis + (index,)
    only[where] = weights[where]
    return only


def _uniform(seed: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the attribute's name."""
    digest = sha256(f"labels\n{seed}\n{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
