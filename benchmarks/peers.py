"""Images/s of our training step beside two known trainers', same networks and batch, one run.

The peers' steps are written anew here from what their code is known to compute: facebookresearch/
pytorch_GAN_zoo and akanimax/pro_gan_pytorch, both with WGAN-GP, their default. Every step has its
pictures ready and logs nothing. Ours is measured as it trains (bfloat16 where the CPU multiplies it
natively) and in float32, with its default loss and with theirs.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from peer_networks import PEERS, PeerStep

from models import GeneratorConfig
from training.config import LossConfig, TrainConfig
from training.inputs import Inputs
from training.presets import PRESETS
from training.schedule import Phase
from training.state import TrainingState
from training.steps import Setup, generate, step_discriminator, step_generator, use_bf16

CPU = torch.device("cpu")
OURS = {
    "ours": LossConfig(),
    "ours, WGAN-GP": LossConfig(kind="wgan_gp", r1_gamma=0),
}


def our_step(
    config: TrainConfig, network: GeneratorConfig, batch: int, bf16: bool
) -> Callable[[], None]:
    """One whole step of the trainer: both networks and the average."""
    side = network.resolution
    state = TrainingState.initial(config, network, CPU)
    setup = Setup(config, (), CPU, bf16)
    phase = Phase(
        resolution=side, alpha=1.0, batch_size=batch, learning_rate=1e-3, label_influence=1.0
    )
    image_BCHW = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    draw_BK = torch.rand(batch, 10)

    def step() -> None:
        inputs = Inputs(
            real_BCHW=image_BCHW * 2 - 1,
            real_label_BL=None,
            real_draw_BK=draw_BK,
            z_BZ=torch.randn(batch, network.latent_dim),
            fake_label_BL=None,
            fake_draw_BK=draw_BK,
            mix_B=torch.rand(batch),
        )
        fake = generate(state, inputs, phase, setup)
        step_discriminator(state, inputs, fake, phase, setup)
        step_generator(state, inputs, fake, phase, setup)
        state.update_average(0.999)
        state.step += 1

    return step


def contestants(resolution: int, batch: int) -> dict[str, Callable[[], object]]:
    """Name → step. All have the preset's networks, without labels."""
    preset = PRESETS["faces_64"]()
    network = dataclasses.replace(preset.network, resolution=resolution).generator(label_dim=0)
    steps: dict[str, Callable[[], object]] = {}
    for name, loss in OURS.items():
        config = dataclasses.replace(preset, loss=loss)
        if use_bf16("auto", CPU):
            steps[f"{name}, bf16"] = our_step(config, network, batch, bf16=True)
        steps[f"{name}, fp32"] = our_step(config, network, batch, bf16=False)
    for name, peer in PEERS.items():
        steps[name] = PeerStep(peer, network, batch)
    return steps


def rate(step: Callable[[], object], batch: int, seconds: float) -> float:
    """Images/s over whole rounds of 16 steps, so that every lazy R1 counts as often as it comes."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(16):
            step()
        done += 16 * batch
    return done / (time.perf_counter() - start)


def main() -> None:
    """Print a row per contestant and resolution: median, spread, and our ratio to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}; "
        "ratio: our first row over this one"
    )
    print(f"{'px':>4} {'step':28} {'images/s':>9} {'lowest':>7} {'highest':>8} {'ratio':>6}")
    for resolution in options.resolutions:
        steps = contestants(resolution, options.batch)
        rates: dict[str, list[float]] = {name: [] for name in steps}
        for step in steps.values():  # warms up
            step()
        for _ in range(options.rounds):  # interleaved: a slow minute hits all alike
            for name, step in steps.items():
                rates[name].append(rate(step, options.batch, options.seconds))
        first = statistics.median(next(iter(rates.values())))
        for name, row in rates.items():
            middle = statistics.median(row)
            print(
                f"{resolution:4} {name:28} {middle:9.1f} {min(row):7.1f} {max(row):8.1f} "
                f"{first / middle:6.2f}"
            )


if __name__ == "__main__":
    main()
