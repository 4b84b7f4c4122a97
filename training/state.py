"""What changes while a run goes on: networks, optimisers, position. To and from a snapshot.

Random draws are pure functions of (seed, images seen), so there is no random state to keep.
"""

import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from models import Discriminator, Generator, GeneratorConfig
from training.augment import Augmentation
from training.config import TrainConfig
from training.diagnostics import NotFiniteError
from training.errors import SnapshotError
from training.snapshot import Snapshot, optimizer_tensors, restore_optimizer

Network = TypeVar("Network", Generator, Discriminator)
ADAM_BETAS = (0.0, 0.99)
ADAM_EPSILON = 1e-8


@dataclass
class TrainingState:
    """Both networks, the averaged generator, both optimisers, augmentation, and the position."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    optimizer_g: torch.optim.Adam
    optimizer_d: torch.optim.Adam
    augmentation: Augmentation
    images_seen: int = 0
    step: int = 0

    @classmethod
    def initial(
        cls, config: TrainConfig, network: GeneratorConfig, device: torch.device
    ) -> "TrainingState":
        """Fresh networks, fixed by the run's seed."""
        torch.manual_seed(config.seed)
        generator = _channels_last(Generator(network).to(device))
        discriminator = _channels_last(Discriminator(network, config.conditioning.kind).to(device))
        average = copy.deepcopy(generator).eval().requires_grad_(False)
        rate = config.schedule.learning_rate
        optimizer_g, optimizer_d = (
            torch.optim.Adam(
                net.parameters(), lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True
            )
            for net in (generator, discriminator)
        )
        augmentation = Augmentation.initial(config.augment)
        return cls(generator, discriminator, average, optimizer_g, optimizer_d, augmentation)

    def snapshot(self, extra: dict[str, Any]) -> Snapshot:
        """Everything in it, as named tensors; `extra` is kept beside it.

        Raises NotFiniteError where a weight is: such a snapshot would replace a good one.
        """
        self.check_finite()
        return Snapshot(
            images_seen=self.images_seen,
            step=self.step,
            tensors={
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "average": self.average.state_dict(),
                "optimizer_g": optimizer_tensors(self.optimizer_g),
                "optimizer_d": optimizer_tensors(self.optimizer_d),
            },
            extra={**extra, "augmentation": self.augmentation.to_dict()},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot of the same network. Raises SnapshotError where it is another."""
        tensors = snapshot.tensors
        try:
            self.generator.load_state_dict(tensors["generator"])
            self.discriminator.load_state_dict(tensors["discriminator"])
            self.average.load_state_dict(tensors["average"])
            restore_optimizer(self.optimizer_g, tensors["optimizer_g"])
            restore_optimizer(self.optimizer_d, tensors["optimizer_d"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise SnapshotError(
                f"the snapshot at {snapshot.images_seen} images is of another network: resume it "
                f"with the configuration it was made with ({str(error).splitlines()[0]})"
            ) from error
        # Snapshots from before there was augmentation have none: then it starts as configured.
        if "augmentation" in snapshot.extra:
            self.augmentation.restore(snapshot.extra["augmentation"])
        self.images_seen, self.step = snapshot.images_seen, snapshot.step

    def check_finite(self) -> None:
        """Raises NotFiniteError naming the first tensor that holds NaN or infinity."""
        for network in ("generator", "discriminator", "average"):
            for name, tensor in getattr(self, network).state_dict().items():
                if not tensor.isfinite().all():
                    raise NotFiniteError(f"{network}.{name}", self.images_seen)

    def set_learning_rate(self, rate: float, generator_share: float = 1.0) -> None:
        """Of both networks; the generator may have a share of it."""
        self.optimizer_d.param_groups[0]["lr"] = rate
        self.optimizer_g.param_groups[0]["lr"] = rate * generator_share

    def reset_adam(self) -> None:
        """Both optimisers forget what they have seen."""
        self.optimizer_g.state.clear()
        self.optimizer_d.state.clear()

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """average ← decay · average + (1 − decay) · generator."""
        for mean, new in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)


def _channels_last(network: Network) -> Network:
    """Lay out the weights as the fastest kernels want them."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fixed_latents(seeds: range, dim: int) -> Tensor:
    """Latents z_BZ of the seeds as the server draws them, so that grids show what it will show."""
    rows = [np.random.RandomState(seed).randn(dim) for seed in seeds]
    return torch.from_numpy(np.array(rows, dtype=np.float32))
