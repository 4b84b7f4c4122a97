"""A request for many pictures → its items in the terms of a model, or all that is wrong with them.

Knows nothing about HTTP objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameter, InvalidParametersError, TooLargeError
from service.many_params import ManyRequest
from service.params import AttributeParser, Seed


@dataclass(frozen=True)
class Item:
    """One picture of many. `given` maps attributes to canonical values, in any subset."""

    seed: Seed
    """A latent's is a name made from its numbers, which no picture can be made from again."""
    given: Mapping[str, str]
    z_Z: NDArray[np.float32] | None = None
    """The latent, where it was given."""


def items_of(
    many: ManyRequest, attributes: AttributeParser, *, latent_dim: int, max_items: int
) -> list[Item]:
    """The items, or TooLargeError, or InvalidParametersError naming what is wrong with them."""
    if len(many) > max_items:
        raise TooLargeError(
            f"This asks for {len(many)} pictures, and {max_items} are the most at once: "
            "ask for less at a time."
        )
    problems: list[InvalidParameter] = []
    given = _given(many, attributes, problems)
    items: list[Item] = []
    for index in range(len(many)):
        if many.latents:
            z_Z = np.asarray(many.latents[index], np.float32)
            if len(z_Z) != latent_dim:
                detail = f"latents.{index} has {len(z_Z)} numbers; this model takes {latent_dim}."
                problems.append(InvalidParameter(f"latents.{index}", detail, (str(latent_dim),)))
            items.append(Item(_named_after(z_Z), given[index], z_Z))
            continue
        seed = Seed.parse(many.seeds[index]) if many.seeds else Seed.random()
        if isinstance(seed, InvalidParameter):
            problems.append(replace(seed, parameter=f"seeds.{index}"))
        else:
            items.append(Item(seed, given[index]))
    if problems:
        raise InvalidParametersError(problems)
    return items


def _given(
    many: ManyRequest, attributes: AttributeParser, problems: list[InvalidParameter]
) -> Sequence[Mapping[str, str]]:
    """The labels of each item, by the canonical names and values."""
    if not isinstance(many.labels, list):
        return [_canonical("labels", many.labels, attributes, problems)] * len(many)
    if len(many.labels) != len(many):
        detail = f"labels has {len(many.labels)} entries for {len(many)} items: give one for each."
        raise InvalidParametersError([InvalidParameter("labels", detail)])
    return [
        _canonical(f"labels.{index}", labels, attributes, problems)
        for index, labels in enumerate(many.labels)
    ]


def _canonical(
    where: str,
    labels: Mapping[str, str],
    attributes: AttributeParser,
    problems: list[InvalidParameter],
) -> dict[str, str]:
    names = {name.casefold(): name for name in attributes.names}
    found: dict[str, str] = {}
    for raw, text in labels.items():
        name = names.get(raw.casefold())
        if name is None:
            allowed = tuple(attributes.names)
            detail = f"There is no attribute {raw!r}; allowed: {', '.join(allowed) or 'none'}."
            problems.append(InvalidParameter(f"{where}.{raw}", detail, allowed))
        elif name in found:
            detail = f"{name} is given more than once: give it once."
            problems.append(InvalidParameter(f"{where}.{raw}", detail))
        else:
            value = attributes.parse(name, text)
            if isinstance(value, str):
                found[name] = value
            else:
                problems.append(replace(value, parameter=f"{where}.{raw}"))
    return found


def _named_after(z_Z: NDArray[np.float32]) -> Seed:
    return Seed(f"latent-{sha256(z_Z.astype('<f4').tobytes()).hexdigest()[:16]}", None)
