"""Where a new run's weights come from when it does not begin at nothing: an exported checkpoint.

The generator and its average begin as the checkpoint's; the discriminator too where the checkpoint
holds its critic, otherwise it is fresh and learns alone until it has caught up. The discriminators
beside it begin as the checkpoint's too, as another run's where one is named, or fresh.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from models import Checkpoint, Discriminator, load_checkpoint, load_companions, load_critic
from models.generator import PIXEL_NORMS
from training.companions import companion_weights
from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.snapshot import load_newest
from training.state import TrainingState
from training.widening import widened

ALONE_KIMG, RAMP_KIMG = 40.0, 200.0
"""Without a critic: how long a fresh discriminator learns alone, until it tells a good generator's
pictures from real ones, and over how much more the generator comes back to its full rate: sooner,
and it walks away from a discriminator that has seen little (docs/flagship.md, run 3)."""
WARM_KIMG = 10.0
"""With one: over how much the generator comes back. Adam knows nothing of its gradients yet, and
its first steps are as long as any."""


@dataclass(frozen=True)
class Origin:
    """A checkpoint to begin from, with its critic where it has one."""

    checkpoint: Checkpoint
    critic: Discriminator | None
    companions: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights of the discriminators of features, patches and variety, those that there are."""
    companions_of: Path | None = None
    """The run they are taken from; None: the checkpoint."""

    @classmethod
    def load(cls, folder: Path, companions_of: Path | None = None) -> Self:
        """`companions_of`: a run folder. Raises CheckpointError, SnapshotError."""
        checkpoint, critic = load_checkpoint(folder), load_critic(folder)
        if companions_of is None:
            return cls(checkpoint, critic, load_companions(folder))
        try:
            snapshot, _ = load_newest(companions_of)
        except SnapshotError as error:
            raise SnapshotError(
                f"--companions-of names no run to take them from: {error}, or omit it"
            ) from error
        return cls(checkpoint, critic, companion_weights(snapshot), companions_of)

    def begun(self, config: TrainConfig) -> TrainConfig:
        """The configuration of a run that begins here instead of at nothing.

        Its networks are as wide as the checkpoint's, which settings may still change. It starts at
        the checkpoint's resolution, averages over the whole half-life from the first step, and
        lets a fresh discriminator learn alone at first, then lead. Raises ConfigError
        where the run ends below the checkpoint's resolution, or its layers are not ours.
        """
        if self.checkpoint.config.pixel_norms != PIXEL_NORMS:
            raise ConfigError(
                f"{self.checkpoint.name} lacks pixel norms that networks trained here have, so its "
                "weights would make other pictures: begin with a checkpoint that was trained here"
            )
        reached, aim = self.checkpoint.config.resolution, config.network.resolution
        if reached > aim:
            raise ConfigError(
                f"{self.checkpoint.name} makes {reached} px and the run ends at {aim} px: set "
                f"network.resolution to {reached} or more"
            )
        schedule = dataclasses.replace(
            config.schedule,
            start_resolution=reached,
            discriminator_kimg=0.0 if self.critic else ALONE_KIMG,
            generator_ramp_kimg=WARM_KIMG if self.critic else RAMP_KIMG,
        )
        network = dataclasses.replace(config.network, **self._widths())
        return dataclasses.replace(config, network=network, schedule=schedule, average_ramp=0.0)

    def lend(self, state: TrainingState, dataset: Dataset) -> None:
        """Put its weights into fresh networks, which may be larger at the top, and wider.

        Raises ConfigError where shapes do not fit, or labels or the discriminator's conditioning
        differ.
        """
        theirs = [(a.name, a.values) for a in self.checkpoint.attributes]
        ours = [(a.name, a.values) for a in dataset.attributes()]
        if theirs != ours:
            raise ConfigError(
                f"{self.checkpoint.name} knows the labels {_listed(theirs)}, {dataset.archive} has "
                f"{_listed(ours)}: prepare the pictures with the same attributes and values"
            )
        for network in (state.generator, state.average):
            self._fill(network, self.checkpoint.state)
        if self.critic is not None:
            self._fill(state.discriminator, self.critic.state_dict())
        self._lend_companions(state)

    def facts(self, companions: Collection[str]) -> dict[str, Any]:
        """What a run and what is exported from it say about where they began.

        `companions`: those that the run has.
        """
        return {
            **self.checkpoint.lineage(),
            "critic": self.critic is not None,
            "companions": any(name in self.companions for name in companions),
        }

    def _widths(self) -> dict[str, int]:
        theirs = self.checkpoint.config
        names = ["latent_dim", "fmap_base", "fmap_max"]
        if theirs.label_dim:
            names.append("label_embed_dim")
        return {name: getattr(theirs, name) for name in names}

    def _lend_companions(self, state: TrainingState) -> None:
        """Those that both have; how wide the first two networks are makes no difference."""
        known = [name for name in state.companions if name in self.companions]
        if self.companions_of is not None and not known:
            raise ConfigError(
                "there is no discriminator to take over: none of features, patches and variety is "
                "in both runs; omit --companions-of, or set their weights above 0"
            )
        for name in known:
            try:
                state.companions[name].network.load_state_dict(dict(self.companions[name]))
            except RuntimeError as error:
                remedy = (
                    f"set {name}.weight to 0 or export {self.checkpoint.name} without its critic"
                    if self.companions_of is None
                    else "omit --companions-of"
                )
                raise SnapshotError(
                    f"the discriminator of {name} is another there: {remedy} "
                    f"({str(error).splitlines()[-1].strip()})"
                ) from error

    def _fill(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        mine = network.state_dict()
        weights = widened(weights, mine)
        for name, tensor in weights.items():
            if name not in mine or mine[name].shape != tensor.shape:
                wanted = tuple(mine[name].shape) if name in mine else "no such tensor"
                config = self.checkpoint.config
                raise ConfigError(
                    f"{self.checkpoint.name} does not fit this run's networks: {name} is "
                    f"{tuple(tensor.shape)} there and {wanted} here; it was made with "
                    f"latent_dim {config.latent_dim}, label_embed_dim {config.label_embed_dim}, "
                    f"fmap_base {config.fmap_base} and fmap_max {config.fmap_max}: --set network.… "
                    "and conditioning.kind accordingly; fmap_base alone may be a multiple, as long "
                    "as fmap_max leaves 4 px as wide as they are"
                )
        network.load_state_dict(weights, strict=False)


def _listed(attributes: list[tuple[str, tuple[str, ...]]]) -> str:
    """As `gender (male, female)`."""
    return "; ".join(f"{name} ({', '.join(values)})" for name, values in attributes) or "none"
