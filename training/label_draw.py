"""Seed → labels by the service's rule, so that a grid made here shows what the service will serve.

The rule stands twice, here and in `service/labels.py`, because the packages never meet; a test
holds the two together. Knows nothing about networks or pictures.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from models import Attribute
from training.errors import ConfigError


def draw_labels(
    seed: int | str,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
    given: Mapping[str, str] | None = None,
) -> tuple[int, ...]:
    """Index of a value for every attribute: `given` kept, the others drawn by the seed.

    One after the other, each conditioned on all that is settled before it and all that is given.
    A combination that training never saw falls back on the attributes' own priors.
    """
    settled = given_indices(attributes, given or {})
    weights = joint_prior
    for axis, index in settled.items():
        weights = None if weights is None else _restrict(weights, axis, index)
    if weights is not None and not weights.sum() > 0:
        weights = None
    for axis, attribute in enumerate(attributes):
        if axis in settled:
            continue
        if weights is None:
            shares = np.asarray(attribute.prior, np.float64)
        else:
            shares = weights.sum(axis=tuple(a for a in range(weights.ndim) if a != axis))
        settled[axis] = _draw(shares, _uniform(f"{seed}", attribute.name))
        weights = None if weights is None else _restrict(weights, axis, settled[axis])
    return tuple(settled[axis] for axis in range(len(attributes)))


def given_indices(attributes: Sequence[Attribute], given: Mapping[str, str]) -> dict[int, int]:
    """Attribute's place → index of its value, for labels given by name.

    Raises ConfigError, listing what there is, for a name or value that the model does not have.
    """
    by_name = {attribute.name: axis for axis, attribute in enumerate(attributes)}
    indices = {}
    for name, value in given.items():
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ConfigError(f"there is no attribute {name!r}: this model has {known}")
        values = attributes[by_name[name]].values
        if value not in values:
            raise ConfigError(f"{name} cannot be {value!r}: choose one of {', '.join(values)}")
        indices[by_name[name]] = values.index(value)
    return indices


def label_vectors(
    index_NA: Sequence[Sequence[int]], attributes: Sequence[Attribute]
) -> NDArray[np.float32]:
    """Value indices → y_NL, the attributes' one-hots in a row."""
    index = np.asarray(index_NA, np.int64).reshape(len(index_NA), len(attributes))
    parts = [
        np.eye(len(attribute.values), dtype=np.float32)[index[:, axis]]
        for axis, attribute in enumerate(attributes)
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(index_NA), 0), np.float32)


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


def _draw(shares: NDArray[np.float64], uniform: float) -> int:
    """Index drawn in proportion to `shares`; never one whose share is 0."""
    cumulative = np.cumsum(shares)
    return int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
