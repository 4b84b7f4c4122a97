"""What a training run is: one frozen tree of settings that checks itself.

Knows nothing about files or devices. The resolved tree lands in the run folder as `config.json`,
so a run can always say what it was. Its parts are in `training.recipe`.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from training.errors import ConfigError
from training.recipe import (
    AUGMENT_KINDS,
    LOSSES,
    AugmentConfig,
    CompanionConfig,
    ConditioningConfig,
    FeatureConfig,
    LossConfig,
    NetworkConfig,
    PatchConfig,
    ScheduleConfig,
    VarietyConfig,
    check,
    check_bounds,
    check_choice,
)

__all__ = [
    "AUGMENT_KINDS",
    "LOSSES",
    "AugmentConfig",
    "CompanionConfig",
    "ConditioningConfig",
    "FeatureConfig",
    "LossConfig",
    "NetworkConfig",
    "PatchConfig",
    "ScheduleConfig",
    "TrainConfig",
    "VarietyConfig",
]


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. Raises ConfigError, naming the field and the remedy."""

    prefix: ClassVar[str] = ""

    preset: str
    """Name of the preset this run started from."""
    network: NetworkConfig
    schedule: ScheduleConfig
    loss: LossConfig = field(default_factory=LossConfig)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    variety: VarietyConfig = field(default_factory=VarietyConfig)
    seed: int = 0
    """Everything random in the run follows from it."""
    mirror: bool = True
    """Flip half of the real pictures left to right."""
    holdout: int = 0
    """This many pictures, a tenth of the data at most, are never trained on: the discriminator's
    scores on them tell overfitting. The same ones in every run."""
    average_half_life_kimg: float = 10.0
    """Half-life of the averaged generator."""
    average_ramp: float = 0.05
    """Early on the half-life is at most this share of the images seen; 0: no such limit."""
    average_decay: float = 0.0
    """Share of the average kept at every step instead, whatever the batch; 0: by half-life."""
    average_restart_kimg: float = 0.0
    """Every this many kimg the generator goes on from its average; 0: never."""
    precision: str = "auto"
    """`bf16`, `fp32`, or `auto`: bf16 where the hardware multiplies it natively."""
    record_steps: bool = True
    """On one GPU, play whole steps from a CUDA graph where they do not change."""
    snapshot_kimg: float = 10.0
    """A snapshot every this many kimg (and when the run is stopped)."""
    keep_snapshots: int = 2
    """How many of the newest snapshots stay, beside the best."""
    sample_kimg: float = 10.0
    """A grid of pictures every this many kimg."""
    metrics_kimg: float = 20.0
    """Quick quality measures every this many kimg."""
    metrics_samples: int = 500
    """Pictures, real and generated, of each quick measure."""
    log_kimg: float = 1.0
    """A line in metrics.jsonl every this many kimg."""

    def __post_init__(self) -> None:
        start, end = self.schedule.start_resolution, self.network.resolution
        check(
            start in self.network.generator(0).resolutions,
            f"start_resolution is {start}: choose a power of two from 4 to {end}",
        )
        check(
            not self.patches.weight or start >= 8,
            f"patches.weight is above 0 and start_resolution {start}: a patch needs 8 px",
        )
        check_choice("precision", self.precision, ("auto", "bf16", "fp32"))
        check(self.keep_snapshots >= 2, "keep_snapshots must be at least 2: one may be damaged")
        check_bounds(self, 0, "average_half_life_kimg", above=True)
        check_bounds(self, 0, "snapshot_kimg", "sample_kimg", above=True)
        check_bounds(self, 0, "metrics_kimg", "log_kimg", above=True)
        check_bounds(self, 0, "holdout", "average_ramp", "average_restart_kimg", "seed")
        check_bounds(self, 16, "metrics_samples")
        check(
            0 <= self.average_decay < 1,
            f"average_decay is {self.average_decay}: it must be below 1, as 0.999; 0: by half-life",
        )
        check(
            self.augment.mode != "adaptive" or self.loss.kind != "wgan_gp",
            "augment.mode adaptive needs scores with an undecided point, which wgan_gp has not: "
            "choose fixed, or another loss.kind",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrainConfig":
        """Read strictly: an unknown field is a ConfigError, one with a default may be missing."""
        try:
            config = _read(cls, data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"not a training configuration of this version: {error}") from error
        assert isinstance(config, cls)
        return config


def _read(kind: Any, value: Any) -> Any:
    """JSON's form of a setting → the setting's own type."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {name: _read(hints.get(name, object), item) for name, item in value.items()}
        return kind(**fields)  # type: ignore[operator]
    if isinstance(kind, types.GenericAlias) and kind.__origin__ is dict:
        return {int(key): item for key, item in value.items()}
    if isinstance(kind, types.GenericAlias) and kind.__origin__ is tuple:
        return tuple(value)
    return value
