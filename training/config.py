"""What a training run is: one frozen tree of settings that checks itself.

Knows nothing about files or devices. The resolved tree lands in the run folder as `config.json`,
so a run can always say what it was.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from models import GeneratorConfig
from training.errors import ConfigError


def _check(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)


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

    total_kimg: float
    """Thousand real images shown to the discriminator in the whole run."""
    start_resolution: int = 8
    """Resolution of the first phase."""
    hold_kimg: float = 40.0
    """kimg at each resolution after it has faded in (the last one holds to the end)."""
    fade_kimg: float = 40.0
    """kimg over which a new resolution fades in."""
    batch_size: int = 32
    """Pictures per step where `batch_size_by_resolution` names no other."""
    batch_size_by_resolution: dict[int, int] = field(default_factory=dict)
    """Pictures per step at given resolutions."""
    learning_rate: float = 2e-3
    """Adam's learning rate, of both networks."""
    decay_kimg: float = 0.0
    """Over the last this many kimg the learning rate falls to `final_learning_rate`."""
    final_learning_rate: float = 2e-4
    """Learning rate at the end of the decay."""

    def __post_init__(self) -> None:
        _check(self.total_kimg > 0, f"total_kimg is {self.total_kimg}: it must be above 0")
        _check(self.hold_kimg > 0, f"hold_kimg is {self.hold_kimg}: it must be above 0")
        _check(self.fade_kimg >= 0, f"fade_kimg is {self.fade_kimg}: it must be 0 or more")
        _check(self.learning_rate > 0, "learning_rate must be above 0")
        sizes = [self.batch_size, *self.batch_size_by_resolution.values()]
        _check(min(sizes) > 0, f"batch sizes are {sizes}: each must be at least 1")


@dataclass(frozen=True)
class LossConfig:
    """Non-saturating logistic loss with lazy R1."""

    r1_gamma: float = 0.5
    """Weight of the squared gradient on real pictures; 0: none."""
    r1_interval: int = 16
    """R1 is taken every this many steps, and weighted up by as much."""

    def __post_init__(self) -> None:
        _check(self.r1_gamma >= 0, f"r1_gamma is {self.r1_gamma}: it must be 0 or more")
        _check(self.r1_interval >= 1, f"r1_interval is {self.r1_interval}: it must be at least 1")


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. Raises ConfigError, naming the field and the remedy."""

    preset: str
    """Name of the preset this run started from."""
    network: NetworkConfig
    schedule: ScheduleConfig
    loss: LossConfig = LossConfig()
    seed: int = 0
    """Everything random in the run follows from it."""
    mirror: bool = True
    """Flip half of the real pictures left to right."""
    average_half_life_kimg: float = 10.0
    """Half-life of the averaged generator."""
    average_ramp: float = 0.05
    """Early on the half-life is at most this share of the images seen."""
    precision: str = "auto"
    """`bf16`, `fp32`, or `auto`: bf16 where the hardware multiplies it natively."""
    snapshot_kimg: float = 10.0
    """A snapshot every this many kimg (and when the run is stopped)."""
    keep_snapshots: int = 2
    """How many of the newest snapshots stay."""
    sample_kimg: float = 10.0
    """A grid of pictures every this many kimg."""
    log_kimg: float = 1.0
    """A line in metrics.jsonl every this many kimg."""

    def __post_init__(self) -> None:
        start, end = self.schedule.start_resolution, self.network.resolution
        _check(
            start in self.network.generator(0).resolutions,
            f"start_resolution is {start}: choose a power of two from 4 to {end}",
        )
        _check(
            self.precision in ("auto", "bf16", "fp32"),
            f"precision is {self.precision!r}: choose auto, bf16 or fp32",
        )
        _check(self.keep_snapshots >= 2, "keep_snapshots must be at least 2: one may be damaged")
        for name in ("average_half_life_kimg", "snapshot_kimg", "sample_kimg", "log_kimg"):
            _check(getattr(self, name) > 0, f"{name} is {getattr(self, name)}: must be above 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrainConfig":
        """Read strictly: an unknown or missing field is a ConfigError."""
        try:
            schedule = dict(data["schedule"])
            schedule["batch_size_by_resolution"] = {
                int(k): v for k, v in schedule["batch_size_by_resolution"].items()
            }
            parts = {
                "network": NetworkConfig(**data["network"]),
                "schedule": ScheduleConfig(**schedule),
                "loss": LossConfig(**data["loss"]),
            }
            return cls(**{**data, **parts})
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"not a training configuration of this version: {error}") from error
