import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from models import Discriminator, Generator, from_pixels
from models.layers import downsample, leaky_relu
from training.config import NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError
from training.growing import distil_new_layers, new_layers
from training.inputs import inputs_at
from training.sampler import Sampler
from training.schedule import grows, phase_at
from training.snapshot import load_newest
from training.state import TrainingState, fixed_latents
from training.steps import Setup, generate, step_generator
from training.trainer import train

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(
        total_kimg=0.2, hold_kimg=0.08, fade_kimg=0, batch_size=8, distil_steps=300
    ),
    precision="fp32",
    snapshot_kimg=0.04,
    sample_kimg=0.2,
    log_kimg=0.04,
)


def copies(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def old_and_new_picture(generator: Generator, dataset: Dataset) -> tuple[torch.Tensor, ...]:
    """Of the same latents: at 8 px, smoothly enlarged, and at 16 px."""
    z_NZ = fixed_latents(range(64), generator.config.latent_dim)
    label_NL = torch.from_numpy(Sampler(dataset, seed=1).labels(64, images_seen=0))
    with torch.no_grad():
        below = generator(z_NZ, label_NL, resolution=8)
        return F.interpolate(below, scale_factor=2, mode="bicubic"), generator(z_NZ, label_NL)


def old_and_new_features(
    discriminator: Discriminator, images: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    block, colour = new_layers(discriminator, 16)
    with torch.no_grad():
        below = leaky_relu(discriminator.from_rgb[1](downsample(images)))
        return below, block(leaky_relu(colour(images)))


def unlike(wanted: torch.Tensor, given: torch.Tensor) -> float:
    return float(F.mse_loss(given, wanted) / wanted.var())


def test_new_layers_repeat_what_was_there_and_nothing_else_moves(dataset: Dataset) -> None:
    state = TrainingState.initial(CONFIG, CONFIG.network.generator(dataset.label_dim), CPU)
    sampler, setup = Sampler(dataset, seed=0), Setup(CONFIG, dataset.label_sizes, CPU, bf16=False)
    images = from_pixels(torch.from_numpy(dataset.images(16)[:64, ::-1].copy()))
    at_random_g = unlike(*old_and_new_picture(state.generator, dataset))
    at_random_d = unlike(*old_and_new_features(state.discriminator, images))
    before_g, before_d = copies(state.generator), copies(state.discriminator)

    phase = dataclasses.replace(phase_at(80, CONFIG), batch_size=16)
    error = distil_new_layers(state, phase, sampler, setup)

    # Latents and pictures it was not taught with; the pictures are noise, which is hardest.
    assert unlike(*old_and_new_picture(state.generator, dataset)) < 0.1 * at_random_g
    assert unlike(*old_and_new_features(state.discriminator, images)) < 0.2 * at_random_d
    assert error.generator < 0.1 * at_random_g
    assert error.discriminator < 0.2 * at_random_d
    new = ("blocks.1.", "to_rgb.2.", "from_rgb.2.")
    for network, before in ((state.generator, before_g), (state.discriminator, before_d)):
        after = network.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == {name for name in before if name.startswith(new)}
    average = state.average.state_dict()
    for name, tensor in state.generator.state_dict().items():
        if name.startswith(new):
            assert torch.equal(average[name], tensor)


def test_a_run_repeats_once_and_resumes_to_the_same_bits(tmp_path: Path, dataset: Dataset) -> None:
    schedule = dataclasses.replace(CONFIG.schedule, distil_steps=5)

    def go(run: str, kimg: float, *, resume: bool = False) -> str:
        cut = dataclasses.replace(schedule, total_kimg=kimg)
        console = Console(file=io.StringIO(), width=200)
        config = dataclasses.replace(CONFIG, schedule=cut)
        train(config, dataset, tmp_path / run, device=CPU, resume=resume, console=console)
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    assert go("whole", 0.12).count("16 px: 5 steps to repeat what is there") == 1
    # Stopped before it grows, at the very step, and after it.
    for kimg, again in ((0.072, 1), (0.08, 0), (0.096, 0)):
        run = f"cut-{kimg}"
        go(run, kimg)
        assert go(run, 0.12, resume=True).count("steps to repeat") == again
        whole, cut = (load_newest(tmp_path / r)[0].tensors for r in ("whole", run))
        for group, tensors in whole.items():
            unequal = [k for k, v in tensors.items() if not torch.equal(v, cut[group][k])]
            assert unequal == []


@pytest.mark.parametrize("lower_rate", [0.0, 0.1])
def test_what_was_there_learns_more_slowly_than_what_is_new(
    dataset: Dataset, lower_rate: float
) -> None:
    def moved(share: float) -> dict[str, torch.Tensor]:
        """By the step at which 16 px begin."""
        schedule = dataclasses.replace(CONFIG.schedule, lower_rate=share)
        config = dataclasses.replace(CONFIG, schedule=schedule)
        state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
        sampler, setup = Sampler(dataset, seed=0), Setup(config, (2, 3), CPU, bf16=False)
        phase = phase_at(80, config)
        inputs = inputs_at(80, phase, sampler, config, take=np.arange(8), device=CPU)
        before = copies(state.generator)
        state.set_learning_rates(phase)
        step_generator(state, inputs, generate(state, inputs, phase, setup), phase, setup)
        after = state.generator.state_dict()
        return {name: after[name] - before[name] for name in before}

    usual, slower = moved(1.0), moved(lower_rate)
    for name in ("dense.weight", "blocks.0.conv1.weight"):
        assert usual[name].abs().max() > 0
        torch.testing.assert_close(slower[name], usual[name] * lower_rate, rtol=1e-2, atol=1e-6)
    for name in ("blocks.1.conv0.weight", "to_rgb.2.weight"):
        assert usual[name].abs().max() > 0
        assert torch.equal(slower[name], usual[name])


def test_snapshots_count_the_parameters_in_the_networks_own_order(dataset: Dataset) -> None:
    state = TrainingState.initial(CONFIG, CONFIG.network.generator(dataset.label_dim), CPU)
    groups = state.optimizer_g.param_groups
    counted = [p for group in groups for p in group["params"]]
    assert all(a is b for a, b in zip(counted, state.generator.parameters(), strict=True))
    assert {group["resolution"] for group in groups} == {4, 8, 16}


def test_a_resolution_begins_once() -> None:
    begun = [n for n in range(0, 200, 8) if grows(n, n + 8, CONFIG)]
    assert begun == [72]


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"distil_steps is -1: it must be 0 or more"):
        ScheduleConfig(total_kimg=1, distil_steps=-1)
    with pytest.raises(ConfigError, match=r"lower_rate is -1: it must be 0 or more"):
        ScheduleConfig(total_kimg=1, lower_rate=-1)
