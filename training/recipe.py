"""The parts of a run's settings, each a frozen dataclass that checks itself.

Raises ConfigError, naming the field and the remedy. Every field is described in docs/training.md.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from models import GeneratorConfig
from models.discriminator import CONDITIONINGS
from training.errors import ConfigError

LOSSES = ("non_saturating", "minimax", "least_squares", "hinge", "wgan_gp")
COMPANION_LOSSES = ("hinge", "non_saturating")
LABEL_DRAWS = ("prior", "balanced")
AUGMENT_MODES = ("off", "fixed", "adaptive")
AUGMENT_KINDS = ("colour", "translation", "cutout")


def check(condition: bool, sentence: str) -> None:
    """Raises ConfigError with the sentence where the condition does not hold."""
    if not condition:
        raise ConfigError(sentence)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ConfigError that names the choices where the value is none of them."""
    check(value in choices, f"{name} is {value!r}: choose one of {', '.join(choices)}")


def check_bounds(config: Any, low: float, *names: str, above: bool = False) -> None:
    """Each named number is at least `low`, or above it. `config.prefix` comes before its name."""
    for name in names:
        value = getattr(config, name)
        fine = (value > low if above else value >= low) and value < math.inf
        check(
            fine,
            f"{config.prefix}{name} is {value}: it must be "
            + (f"above {low}" if above else f"{low} or more")
            + (", and finite" if value == math.inf else ""),
        )


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of both networks; the label's length comes from the data set."""

    resolution: int
    """Side of the finished picture in pixels: a power of two, 8 to 1024."""
    latent_dim: int = 128
    """Z: length of the latent vector."""
    label_embed_dim: int = 64
    """Length to which labels are embedded before they join the latent; 0: one-hots as they are."""
    fmap_base: int = 1024
    """Feature maps at resolution R: min(fmap_base · 2 / R, fmap_max)."""
    fmap_max: int = 256
    """The most feature maps any layer has."""

    def __post_init__(self) -> None:
        self.generator(label_dim=0)

    def generator(self, label_dim: int) -> GeneratorConfig:
        """The networks' configuration for labels of length `label_dim`."""
        try:
            return GeneratorConfig(
                resolution=self.resolution,
                latent_dim=self.latent_dim,
                label_dim=label_dim,
                label_embed_dim=self.label_embed_dim if label_dim else 0,
                fmap_base=self.fmap_base,
                fmap_max=self.fmap_max,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class ScheduleConfig:
    """When the networks grow, and the batch size and learning rate on the way."""

    prefix: ClassVar[str] = "schedule."

    total_kimg: float
    """Thousand real images shown to the discriminator in the whole run."""
    start_resolution: int = 8
    """Resolution of the first phase; the network's own: no growing at all."""
    hold_kimg: float = 40.0
    """kimg at each resolution after it has faded in (the last one holds to the end)."""
    fade_kimg: float = 40.0
    """kimg over which a new resolution fades in."""
    distil_steps: int = 0
    """Steps in which a new resolution's layers learn to repeat the networks below before they are
    trained, so that they need no fade; 0: they begin at random, as in the paper."""
    batch_size: int = 32
    """Pictures per step where `batch_size_by_resolution` names no other."""
    batch_size_by_resolution: dict[int, int] = field(default_factory=dict)
    """Pictures per step at given resolutions."""
    learning_rate: float = 2e-3
    """Adam's learning rate, of both networks, where the next and `generator_rate` say no other."""
    learning_rate_by_resolution: dict[int, float] = field(default_factory=dict)
    """Learning rates at given resolutions."""
    decay_kimg: float = 0.0
    """Over the last this many kimg the learning rate falls to `final_learning_rate`."""
    final_learning_rate: float = 2e-4
    """Learning rate at the end of the decay."""
    reset_adam: bool = False
    """Forget Adam's moments at both ends of every fade, as the official code does."""
    discriminator_kimg: float = 0.0
    """Over the first this many kimg the discriminator learns alone."""
    generator_ramp_kimg: float = 0.0
    """Over this many kimg after that the generator's learning rate grows from 0 to its own."""
    generator_rate: float = 1.0
    """The generator's learning rate as a share of the discriminator's (two time scales: Heusel et
    al., arXiv 1706.08500): less where the discriminator cannot keep up."""
    lower_rate: float = 1.0
    """Of the generator's learning rate, the share of its layers below the resolution that is being
    learnt: less keeps what they know while new ones are fitted to them (slower lower layers: Howard
    and Ruder, arXiv 1801.06146, section 3.2); 0: they stay as they are, which is also quicker."""

    def __post_init__(self) -> None:
        check_bounds(self, 0, "total_kimg", "hold_kimg", "learning_rate", above=True)
        check_bounds(self, 0, "fade_kimg", "distil_steps", "decay_kimg")
        check_bounds(self, 0, "final_learning_rate")
        check_bounds(self, 0, "discriminator_kimg", "generator_ramp_kimg")
        check_bounds(self, 0, "generator_rate", above=True)
        check_bounds(self, 0, "lower_rate")
        sizes = [self.batch_size, *self.batch_size_by_resolution.values()]
        check(min(sizes) > 0, f"batch sizes are {sizes}: each must be at least 1")
        rates = list(self.learning_rate_by_resolution.values())
        check(min(rates, default=1) > 0, f"learning rates are {rates}: each must be above 0")


@dataclass(frozen=True)
class LossConfig:
    """What both networks minimise, and what keeps the discriminator smooth."""

    prefix: ClassVar[str] = "loss."

    kind: str = "non_saturating"
    """`non_saturating`, `minimax`, `least_squares`, `hinge`, or `wgan_gp`."""
    r1_gamma: float = 0.5
    """Weight of the squared gradient on real pictures; 0: none. Not with wgan_gp."""
    r1_interval: int = 16
    """R1 is taken every this many steps, and weighted up by as much."""
    gradient_penalty: float = 10.0
    """wgan_gp alone: weight of (‖gradient‖ − 1)² between real and generated pictures."""
    drift: float = 0.001
    """wgan_gp alone: weight of the squared score of real pictures."""

    def __post_init__(self) -> None:
        check_choice("loss.kind", self.kind, LOSSES)
        check_bounds(self, 0, "r1_gamma", "gradient_penalty", "drift")
        check_bounds(self, 1, "r1_interval")
        check(
            self.kind != "wgan_gp" or self.r1_gamma == 0,
            f"loss.kind wgan_gp brings its own gradient penalty, and r1_gamma is {self.r1_gamma}: "
            "set loss.r1_gamma to 0",
        )


@dataclass(frozen=True)
class ConditioningConfig:
    """How labels steer both networks; without labels nothing here matters."""

    prefix: ClassVar[str] = "conditioning."

    kind: str = "projection"
    """How the discriminator uses labels: `projection`, `auxiliary` or `concatenation`."""
    auxiliary_weight: float = 1.0
    """auxiliary alone: weight of guessing the labels of real and generated pictures."""
    ramp_kimg: float = 0.0
    """Over the first this many kimg labels grow from their average into themselves."""
    draw: str = "prior"
    """`prior`: labels as they fall in the data; `balanced`: each combination as often."""

    def __post_init__(self) -> None:
        check_choice("conditioning.kind", self.kind, CONDITIONINGS)
        check_choice("conditioning.draw", self.draw, LABEL_DRAWS)
        check_bounds(self, 0, "auxiliary_weight", "ramp_kimg")


@dataclass(frozen=True)
class AugmentConfig:
    """Differentiable augmentation of what the discriminator sees, real and generated alike."""

    prefix: ClassVar[str] = "augment."

    mode: str = "off"
    """`off`; `fixed`: with `probability`; `adaptive`: as often as it takes to hold `target`."""
    kinds: tuple[str, ...] = AUGMENT_KINDS
    """Any of `colour`, `translation`, `cutout`."""
    probability: float = 1.0
    """fixed alone: chance of each kind for each picture."""
    target: float = 0.6
    """adaptive alone: mean sign of D(real) above which augmentation grows."""
    adaptation_kimg: float = 500.0
    """adaptive alone: kimg in which the probability can move from 0 to 1."""
    interval: int = 4
    """adaptive alone: steps between adaptations."""
    max_probability: float = 0.8
    """adaptive alone: the probability stops here; beyond it, augmentation leaks into pictures."""

    def __post_init__(self) -> None:
        check_choice("augment.mode", self.mode, AUGMENT_MODES)
        for kind in self.kinds:
            check_choice("augment.kinds", kind, AUGMENT_KINDS)
        for name in ("probability", "max_probability"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"augment.{name} is {value}: it must lie in 0 to 1")
        check(-1 < self.target < 1, f"augment.target is {self.target}: it must lie in -1 to 1")
        check_bounds(self, 0, "adaptation_kimg", above=True)
        check_bounds(self, 1, "interval")


@dataclass(frozen=True)
class CompanionConfig:
    """A discriminator that stands beside the first."""

    prefix: ClassVar[str]

    weight: float = 0.0
    """Weight of its score in the generator's loss; 0: there is none."""
    rate: float = 1.0
    """Its learning rate as a share of the first discriminator's."""
    generator_loss: str = "hinge"
    """How its scores become the generator's loss."""

    def __post_init__(self) -> None:
        check_choice(f"{self.prefix}generator_loss", self.generator_loss, COMPANION_LOSSES)
        check_bounds(self, 0, "weight")
        check_bounds(self, 0, "rate", above=True)


@dataclass(frozen=True)
class FeatureConfig(CompanionConfig):
    """One that sees pictures through a network trained on photographs."""

    prefix: ClassVar[str] = "features."

    rate: float = 0.4
    """Its learning rate as a share of the first discriminator's."""
    probability: float = 0.5
    """Chance that a picture it sees is translated, and that a part is cut out: on average, where
    half of them are left as they are for the judge of variety."""

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = 0 <= self.probability <= 1
        check(in_range, f"features.probability is {self.probability}: it must lie in 0 to 1")


@dataclass(frozen=True)
class PatchConfig(CompanionConfig):
    """One that sees small patches of pixels and judges their texture."""

    prefix: ClassVar[str] = "patches."


@dataclass(frozen=True)
class VarietyConfig(CompanionConfig):
    """One that sees how much the pictures of a group differ."""

    prefix: ClassVar[str] = "variety."
