"""What changes while a run goes on: networks, optimisers, position. To and from a snapshot.

Random draws are pure functions of (seed, images seen), so there is no random state to keep.
"""

import copy
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from models import Discriminator, Generator, GeneratorConfig
from training.augment import Augmentation
from training.companions import Companion, companion_config, companion_networks
from training.config import TrainConfig
from training.diagnostics import NotFiniteError
from training.errors import SnapshotError
from training.schedule import Phase
from training.snapshot import Snapshot, optimizer_tensors, restore_optimizer

Network = TypeVar("Network", bound=nn.Module)
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
    companions: dict[str, Companion] = field(default_factory=dict)
    """By name, the discriminators that stand beside the first."""
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
            _adam(_by_resolution(generator), rate, device),
            _adam(discriminator.parameters(), rate, device),
            Augmentation.initial(config.augment),
        )
        for name, net in companion_networks(config, network.label_dim, device).items():
            settings = companion_config(name, config)
            optimizer = _adam(net.parameters(), rate, device)
            state.companions[name] = Companion(name, net, optimizer, settings)
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
        for name, companion in self.companions.items():
            tensors[name] = companion.network.state_dict()
            tensors[f"optimizer_{name[0]}"] = optimizer_tensors(companion.optimizer)
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
            # One that a run takes up half-way starts afresh.
            for name, companion in self.companions.items():
                if name in tensors:
                    companion.network.load_state_dict(tensors[name])
                    restore_optimizer(companion.optimizer, tensors[f"optimizer_{name[0]}"])
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
        networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        networks |= {name: companion.network for name, companion in self.companions.items()}
        for network, module in networks.items():
            for name, tensor in module.state_dict().items():
                if not tensor.isfinite().all():
                    raise NotFiniteError(f"{network}.{name}", self.images_seen)

    def set_learning_rates(self, phase: Phase) -> None:
        """The discriminator's; those of the other networks are shares of it. A lower share of 0
        freezes the generator's layers below the phase's resolution."""
        rate = phase.learning_rate
        _set_rate(self.optimizer_d.param_groups[0], rate)
        for group in self.optimizer_g.param_groups:
            share = phase.lower_share if group["resolution"] < phase.resolution else 1.0
            _set_rate(group, rate * phase.generator_share * share)
            for parameter in group["params"]:
                parameter.requires_grad_(share > 0)
        for companion in self.companions.values():
            _set_rate(companion.optimizer.param_groups[0], rate * companion.config.rate)

    def reset_adam(self) -> None:
        """The optimisers forget what they have seen."""
        companions = (companion.optimizer for companion in self.companions.values())
        for optimizer in (self.optimizer_g, self.optimizer_d, *companions):
            optimizer.state.clear()

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """average ← decay · average + (1 − decay) · generator."""
        means: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(means, list(self.generator.parameters()), 1 - decay)

    @torch.no_grad()
    def restart_from_average(self) -> None:
        """generator ← average: back from where single steps have carried it.

        After Chavdarova et al., "Taming GANs with Lookahead-Minmax" (arXiv 2006.14567), who put
        both networks back, to a point between slow and fast weights; here the discriminators and
        Adam's moments stay.
        """
        weights: list[Tensor] = list(self.generator.parameters())
        torch._foreach_copy_(weights, list(self.average.parameters()))


def _adam(parameters: Iterable[Any], rate: float, device: torch.device) -> torch.optim.Adam:
    # A recorded step reads the rate from where it stood when it was recorded.
    on_gpu = device.type == "cuda"
    return torch.optim.Adam(
        parameters,
        lr=torch.tensor(rate, device=device) if on_gpu else rate,
        betas=ADAM_BETAS,
        eps=ADAM_EPSILON,
        fused=True,
        capturable=on_gpu,
    )


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _by_resolution(generator: Generator) -> list[dict[str, Any]]:
    """Its parameters in their own order, which snapshots count by, in groups that each belong to
    one `resolution`."""

    def resolution(named: tuple[str, nn.Parameter]) -> int:
        part, *index = named[0].split(".")
        at = {"blocks": 1, "to_rgb": 0}
        return generator.config.resolutions[int(index[0]) + at[part] if part in at else 0]

    return [
        {"params": [parameter for _, parameter in group], "resolution": side}
        for side, group in itertools.groupby(generator.named_parameters(), resolution)
    ]


def _channels_last(network: Network) -> Network:
    """Lay out the weights as the fastest kernels want them."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fixed_latents(seeds: range, dim: int) -> Tensor:
    """Latents z_BZ of the seeds as the server draws them, so that grids show what it will show."""
    rows = [np.random.RandomState(seed).randn(dim) for seed in seeds]
    return torch.from_numpy(np.array(rows, dtype=np.float32))
