"""A run's averaged generator and a checkpoint's of the same line, averaged once more.

What each has learned by chance cancels out: the mean is often better than either. Source: Izmailov
et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv 1803.05407).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from models import Attribute, Checkpoint, Generator, load_checkpoint
from training.errors import ConfigError

LEAST_COSINE = 0.95
"""Between the weights of two generators that may be averaged. Those of one line, hundreds of kimg
apart, are at 0.99 and more. Those of two lines are at 0, or below 0.9 where both began at the same
random weights (a trained generator is at 0.93 to its own), and their mean makes mud."""


@dataclass(frozen=True)
class Averaging:
    """The checkpoint to average with, and its share in the mean, between 0 and 1."""

    checkpoint: Checkpoint
    share: float

    @classmethod
    def load(cls, folder: Path, share: float = 0.5) -> Self:
        """Raises CheckpointError, and ConfigError for a share that leaves out one of the two."""
        if not 0 < share < 1:
            raise ConfigError(f"the share to average with is {share:g}: choose one between 0 and 1")
        return cls(load_checkpoint(folder), share)

    def mean(self, generator: Generator, attributes: Sequence[Attribute]) -> Generator:
        """A generator whose weights are the mean; `attributes` are those of `generator`.

        Raises ConfigError where the two differ in shape or labels, or are not of one line.
        """
        name, theirs = self.checkpoint.name, self.checkpoint.state
        if self.checkpoint.config != generator.config:
            raise ConfigError(
                f"{name} is of another shape ({self.checkpoint.config}, the run's generator is "
                f"{generator.config}): average with one exported from this run or from its origin"
            )
        if _named(self.checkpoint.attributes) != _named(attributes):
            raise ConfigError(
                f"{name} knows other labels than the run: average with one of the same attributes"
            )
        ours = generator.state_dict()
        cosine = _cosine(ours, theirs)
        if cosine < LEAST_COSINE:
            raise ConfigError(
                f"{name} is not of the run's line (the cosine between their weights is "
                f"{cosine:.2f}): average with one exported from this run or from its origin"
            )
        averaged = Generator(generator.config)
        averaged.load_state_dict({key: ours[key].lerp(theirs[key], self.share) for key in ours})
        return averaged.eval().requires_grad_(False)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about what it was averaged with."""
        dataset = self.checkpoint.provenance.get("dataset")
        return {**self.checkpoint.lineage(), "share": self.share, "dataset": dataset}


def _named(attributes: Sequence[Attribute]) -> list[tuple[str, Sequence[str]]]:
    return [(attribute.name, tuple(attribute.values)) for attribute in attributes]


def _cosine(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Between all weights of two networks of the same shape."""

    def product(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
        return sum(float((a[key] * b[key]).sum()) for key in ours)

    return product(ours, theirs) / math.sqrt(product(ours, ours) * product(theirs, theirs))
