"""Layers of a new resolution that begin where the old ones are, not at random.

Before a resolution is trained on, its new layers learn to repeat what the networks do without them:
the generator's to give the old picture enlarged, the discriminator's to give the features it had of
the picture made smaller. So the discriminator keeps its lead, and the generator need not first find
its colours again. Knows nothing about losses or schedules.

Source of the idea: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer" (arXiv
1511.05641), by distillation, since a pixel norm and a leaky ReLU have no exact identity.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import Discriminator, Generator
from models.layers import downsample, leaky_relu
from training.inputs import Inputs, inputs_at
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup

LEARNING_RATE = 1e-2
"""Five times a run's: weights that begin at random have far to go, and nothing moves but them."""
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Resemblance:
    """How near the new layers came: mean squared error over the variance of what they repeat."""

    generator: float
    discriminator: float

    def __str__(self) -> str:
        return (
            f"error left, of the variance: generator {self.generator:.4f}, "
            f"discriminator {self.discriminator:.4f}"
        )


def distil_new_layers(
    state: TrainingState, phase: Phase, sampler: Sampler, setup: Setup
) -> Resemblance:
    """Teach the layers of `phase.resolution` to repeat the networks below; all others stay.

    The averaged generator gets the same layers. A pure function of weights, seed and position,
    so a run that is resumed before it comes to the same weights.
    """
    resolution, steps = phase.resolution, setup.config.schedule.distil_steps
    layers_g, layers_d = (
        new_layers(state.generator, resolution),
        new_layers(state.discriminator, resolution),
    )
    optimizer_g, optimizer_d = (
        torch.optim.Adam(layers.parameters(), lr=LEARNING_RATE, betas=BETAS)
        for layers in (layers_g, layers_d)
    )
    whole = replace(phase, alpha=1.0, label_influence=1.0)
    error_g = error_d = float("inf")
    for step in range(steps):
        for optimizer in (optimizer_g, optimizer_d):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        inputs = inputs_at(
            state.images_seen + step * whole.batch_size,
            whole,
            sampler,
            setup.config,
            take=setup.world.rows(whole.batch_size),
            device=setup.device,
        )
        # The generator's new layers repeat the old picture.
        with setup.autocast():
            image_BCHW, old_BCHW = _enlarged(state.generator, inputs, resolution)
        error_g = _learn(optimizer_g, layers_g, image_BCHW, old_BCHW, setup)

        # The discriminator's repeat the old features, of real and of generated pictures.
        with setup.autocast():
            mixed_BCHW = torch.cat([inputs.real_BCHW, image_BCHW.detach()])
            features_BCHW, old_BCHW = _reduced(state.discriminator, mixed_BCHW)
        error_d = _learn(optimizer_d, layers_d, features_BCHW, old_BCHW, setup)
    new_layers(state.average, resolution).load_state_dict(layers_g.state_dict())
    return Resemblance(error_g, error_d)


def new_layers(network: Generator | Discriminator, resolution: int) -> nn.ModuleList:
    """A network's block and colour layer of `resolution`, which is not the smallest."""
    stage = network.config.stage(resolution)
    colours = network.to_rgb if isinstance(network, Generator) else network.from_rgb
    return nn.ModuleList([network.blocks[stage - 1], colours[stage]])


def _enlarged(generator: Generator, inputs: Inputs, resolution: int) -> tuple[Tensor, Tensor]:
    """What the new layers make of the features below, and the old picture, smoothly enlarged."""
    block, colour = new_layers(generator, resolution)
    with torch.no_grad():
        below_BCHW = generator.features(inputs.z_BZ, inputs.fake_label_BL, resolution // 2)
        old_BCHW = generator.to_rgb[generator.config.stage(resolution // 2)](below_BCHW)
        wanted_BCHW = F.interpolate(old_BCHW.float(), scale_factor=2.0, mode="bicubic")
    return colour(block(below_BCHW)).float(), wanted_BCHW


def _reduced(discriminator: Discriminator, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """What the new layers see in pictures, and what the old one sees in them at half the size."""
    block, colour = new_layers(discriminator, image_BCHW.shape[-1])
    below = discriminator.from_rgb[discriminator.config.stage(image_BCHW.shape[-1] // 2)]
    with torch.no_grad():
        wanted_BCHW = leaky_relu(below(downsample(image_BCHW)))
    return block(leaky_relu(colour(image_BCHW))).float(), wanted_BCHW.float()


def _learn(
    optimizer: torch.optim.Optimizer, layers: nn.Module, given: Tensor, wanted: Tensor, setup: Setup
) -> float:
    """One step towards `wanted`; the error before it, as a share of the variance."""
    loss = F.mse_loss(given, wanted)
    optimizer.zero_grad()
    loss.backward()
    setup.world.average_gradients(layers.parameters())
    optimizer.step()
    return float(loss.detach() / wanted.var())
