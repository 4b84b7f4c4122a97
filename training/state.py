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
from training.feature_discriminator import FeatureDiscriminator
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
    features: FeatureDiscriminator | None = None
    optimizer_f: torch.optim.Adam | None = None
    """Of `features`."""
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
        state = cls(
            generator,
            discriminator,
            average,
            _adam(generator, rate),
            _adam(discriminator, rate),
            Augmentation.initial(config.augment),
        )
        if config.features.weight:
            state.features = FeatureDiscriminator(network.label_dim).to(device)
            state.optimizer_f = _adam(state.features, rate)
        return state

    def snapshot(self, extra: dict[str, Any]) -> Snapshot:
        """Everything in it, as named tensors; `extra` is kept beside it.

        Raises NotFiniteError where a weight is: such a snapshot would replace a good one.
        """
        self.check_finite()
        tensors = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimizer_g": optimizer_tensors(self.optimizer_g),
            "optimizer_d": optimizer_tensors(self.optimizer_d),
        }
        if self.features is not None and self.optimizer_f is not None:
            tensors["features"] = self.features.state_dict()
            tensors["optimizer_f"] = optimizer_tensors(self.optimizer_f)
        return Snapshot(
            images_seen=self.images_seen,
            step=self.step,
            tensors=tensors,
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
            # A run may begin to use features half-way: then their discriminator starts afresh.
            if self.features is not None and self.optimizer_f is not None and "features" in tensors:
                self.features.load_state_dict(tensors["features"])
                restore_optimizer(self.optimizer_f, tensors["optimizer_f"])
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
        for network in ("generator", "discriminator", "average", "features"):
            module = getattr(self, network)
            for name, tensor in module.state_dict().items() if module is not None else ():
                if not tensor.isfinite().all():
                    raise NotFiniteError(f"{network}.{name}", self.images_seen)

    def set_learning_rate(
        self, rate: float, generator_share: float = 1.0, feature_share: float = 1.0
    ) -> None:
        """The discriminator's; the generator's and the feature discriminator's are shares of it."""
        self.optimizer_d.param_groups[0]["lr"] = rate
        if self.optimizer_f is not None:
            self.optimizer_f.param_groups[0]["lr"] = rate * feature_share
        self.optimizer_g.param_groups[0]["lr"] = rate * generator_share

    def reset_adam(self) -> None:
        """The optimisers forget what they have seen."""
        for optimizer in (self.optimizer_g, self.optimizer_d, self.optimizer_f):
            if optimizer is not None:
                optimizer.state.clear()

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """average ← decay · average + (1 − decay) · generator."""
        for mean, new in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)


def _adam(network: torch.nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True
    )


def _channels_last(network: Network) -> Network:
    """Lay out the weights as the fastest kernels want them."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fixed_latents(seeds: range, dim: int) -> Tensor:
    """Latents z_BZ of the seeds as the server draws them, so that grids show what it will show."""
    rows = [np.random.RandomState(seed).randn(dim) for seed in seeds]
    return torch.from_numpy(np.array(rows, dtype=np.float32))
