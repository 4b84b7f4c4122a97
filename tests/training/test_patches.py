"""The discriminator that sees the finest detail alone."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from training.companions import Seen
from training.config import NetworkConfig, PatchConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError
from training.inputs import inputs_at
from training.patch_discriminator import GAINS, PatchDiscriminator
from training.sampler import Sampler
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, step_companions

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=0.16, batch_size=8),
    patches=PatchConfig(weight=0.5),
    precision="fp32",
)
PHASE = Phase(16, 1.0, 8, 1e-3)


def portraits(count: int, seed: int) -> Tensor:
    """Smooth pictures image_BCHW of 32 px: no detail but a grain of one level of luma."""
    random = torch.Generator().manual_seed(seed)
    smooth = torch.rand(count, 3, 4, 4, generator=random) * 1.6 - 0.8
    image_BCHW = torch.nn.functional.interpolate(smooth, (32, 32), mode="bicubic")
    return image_BCHW + torch.randn(count, 1, 32, 32, generator=random) / 127.5


def woven(image_BCHW: Tensor) -> Tensor:
    """With a weave of red and blue two pixels wide, of one level of 255, which no eye sees."""
    weave_W = torch.tensor([1.0, -1.0]).repeat(image_BCHW.shape[-1] // 2) / 127.5
    colour_C11 = torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    return image_BCHW + colour_C11 * weave_W * weave_W[:, None].sign()


def test_detail_is_what_a_blur_takes_out_luma_and_chroma_apart() -> None:
    patches = PatchDiscriminator()
    seen: list[Tensor] = []
    patches.halve[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    flat = torch.full((1, 3, 16, 16), 0.3)
    dot, red = flat.clone(), flat.clone()
    dot[0, :, 8, 8] += 0.1  # grey: luma alone
    red[0, 0, 8, 8] += 0.1
    for image_BCHW in (flat, dot, red):
        patches(image_BCHW)
    assert seen[0].abs().max() < 1e-4
    centre = seen[1][0, :, 8, 8]
    torch.testing.assert_close(
        centre, torch.tensor([GAINS[0] * 0.1 * 0.75, 0, 0]), atol=1e-4, rtol=0
    )
    assert seen[1][0, 0].sum() == pytest.approx(0, abs=1e-3)  # a blur keeps the mean
    wanted = torch.tensor([0.299, -0.1687, 0.5]) * torch.tensor(GAINS) * 0.1 * 0.75
    torch.testing.assert_close(seen[2][0, :, 8, 8], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("side", "places"), [(8, 1), (32, 16), (128, 256)])
def test_each_place_is_scored(side: int, places: int) -> None:
    assert PatchDiscriminator()(torch.zeros(2, 3, side, side)).shape == (2, places)


def test_it_tells_a_weave_of_colour_that_the_eye_does_not_see(dataset: Dataset) -> None:
    state = TrainingState.initial(CONFIG, CONFIG.network.generator(dataset.label_dim), CPU)
    setup = Setup(CONFIG, dataset.label_sizes, CPU, bf16=False)
    sampler = Sampler(dataset, seed=0)
    inputs = inputs_at(0, PHASE, sampler, CONFIG, take=np.arange(8), device=CPU)
    for step in range(60):
        shown = dataclasses.replace(inputs, real_BCHW=portraits(8, step))
        made = Seen(woven(portraits(8, 1000 + step)), [], None)
        loss = step_companions(state, shown, made, setup)["patches_d"]
    assert float(loss.detach()) < 0.5  # 2 before it has learnt anything
    with torch.no_grad():
        patches = state.companions["patches"].network
        good, bad = portraits(16, 5000), woven(portraits(16, 5000))
        assert patches(good).mean() > 0.5 > -0.5 > patches(bad).mean()


def test_pictures_smaller_than_a_patch_are_refused() -> None:
    schedule = dataclasses.replace(CONFIG.schedule, start_resolution=4)
    with pytest.raises(ConfigError, match="a patch needs 8 px"):
        dataclasses.replace(CONFIG, schedule=schedule)
