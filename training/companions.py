"""The discriminators that may stand beside the first: which there are, and what each is shown.

A run has those whose weight is above 0. Each trains on what the first one trains on, plays for
the hinge loss, and adds its weighted score to the generator's. Knows nothing about steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.config import CompanionConfig, TrainConfig
from training.feature_discriminator import FeatureDiscriminator
from training.losses import ADVERSARIAL_LOSSES
from training.patch_discriminator import PatchDiscriminator
from training.snapshot import Snapshot
from training.variety_discriminator import VarietyDiscriminator, every_second_group


@dataclass(frozen=True)
class Seen:
    """A batch as companions are shown it."""

    image_BCHW: Tensor
    maps: list[Tensor]
    """Of the backbone; empty where the run has none. Where variety is judged, every second group
    of the batch is seen as it is."""
    label_BL: Tensor | None

    def detach(self) -> "Seen":
        """The same, without a way back to the generator."""
        return Seen(self.image_BCHW.detach(), [m.detach() for m in self.maps], self.label_BL)


SCORES: dict[str, Callable[[nn.Module, Seen], Tensor]] = {
    "features": lambda network, seen: network(seen.maps, seen.label_BL),
    "patches": lambda network, seen: network(seen.image_BCHW),
    "variety": lambda network, seen: network([every_second_group(x_BCHW) for x_BCHW in seen.maps]),
}
"""How each is asked, by the name of its settings: scores of any shape."""


@dataclass
class Companion:
    """One such discriminator, and what moves it."""

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    config: CompanionConfig

    def score(self, seen: Seen) -> Tensor:
        """In float32; large where pictures look real."""
        return SCORES[self.name](self.network, seen).float()

    def generator_loss(self, score: Tensor) -> Tensor:
        """What the generator minimises for it, before its weight."""
        return ADVERSARIAL_LOSSES[self.config.generator_loss].generator(score)


def companion_config(name: str, config: TrainConfig) -> CompanionConfig:
    """The settings that the run has for it."""
    settings: CompanionConfig = getattr(config, name)
    return settings


def companion_networks(
    config: TrainConfig, label_dim: int, device: torch.device
) -> dict[str, nn.Module]:
    """Name → a fresh network, for each that the run asks for."""
    networks: dict[str, nn.Module] = {}
    if config.features.weight:
        networks["features"] = FeatureDiscriminator(label_dim).to(device)
    if config.patches.weight:
        patches = PatchDiscriminator().to(device)
        patches.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks["patches"] = patches
    if config.variety.weight:
        networks["variety"] = VarietyDiscriminator().to(device)
    return networks


def companion_weights(snapshot: Snapshot) -> dict[str, Mapping[str, Tensor]]:
    """Name → weights of each that the run of the snapshot has."""
    return {name: snapshot.tensors[name] for name in SCORES if name in snapshot.tensors}
