"""The front door of training: one visible loop from a data set to a trained run folder.

A run folder holds `config.json`, `dataset.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
`snapshots/`. Knows nothing about checkpoints or metrics of picture quality.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from models import from_pixels, to_pixels
from models.layers import downsample, upsample
from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.journal import Journal, Window
from training.losses import discriminator_loss, generator_loss, r1_penalty
from training.schedule import Phase, average_decay_at, phase_at
from training.snapshot import list_snapshots, load_newest, save_snapshot
from training.state import TrainingState, draw_latents, fixed_latents

GRID_SEEDS = range(64)


@dataclass
class Stop:
    """Set by SIGINT or SIGTERM: finish the step, write a snapshot, leave."""

    signal: int | None = None


def train(
    config: TrainConfig,
    dataset: Dataset,
    run: Path,
    *,
    device: torch.device,
    resume: bool = False,
    console: Console | None = None,
) -> Stop:
    """Train to the end of the schedule, or until SIGINT or SIGTERM; says which.

    `resume` goes on from the newest whole snapshot of `run`, to the same weights as if it had
    never stopped. Raises TrainingError, with the run's last snapshot intact.
    """
    console = console or Console()
    network = config.network.generator(dataset.label_dim)
    if network.resolution > dataset.resolution:
        raise ConfigError(
            f"{dataset.archive} holds pictures of {dataset.resolution} px, the run needs "
            f"{network.resolution}: prepare it again with --resolution {network.resolution}"
        )
    state = TrainingState.initial(config, network, device)
    _open_run(config, dataset, run, state, resume, console)
    bf16 = _use_bf16(config.precision, device)
    total_images = round(config.schedule.total_kimg * 1000)
    grid_latents = fixed_latents(GRID_SEEDS, network.latent_dim).to(device)
    grid_labels = dataset.labels(len(GRID_SEEDS), images_seen=0, seed=0)
    window = Window()

    with Journal(run, total_images, state.images_seen, console) as journal, _signals() as stop:
        while state.images_seen < total_images and stop.signal is None:
            phase = phase_at(state.images_seen, config)

            # Set the learning rate.
            for optimizer in (state.optimizer_g, state.optimizer_d):
                optimizer.param_groups[0]["lr"] = phase.learning_rate

            # Take the next real pictures, blended as the networks are; draw latents and labels.
            real = dataset.batch(
                phase.resolution,
                phase.batch_size,
                images_seen=state.images_seen,
                seed=config.seed,
                mirror=config.mirror,
            )
            real_BCHW = _fade(from_pixels(torch.from_numpy(real.image_BHWC).to(device)), phase)
            real_label_BL = _labels(real.label_BL, device)
            fake_label_BL = _labels(
                dataset.labels(phase.batch_size, images_seen=state.images_seen, seed=config.seed),
                device,
            )
            z_BZ = draw_latents(
                phase.batch_size,
                network.latent_dim,
                images_seen=state.images_seen,
                seed=config.seed,
            ).to(device)

            # Generate once: the same pictures serve the discriminator's and the generator's step.
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                fake_BCHW = state.generator(
                    z_BZ, fake_label_BL, resolution=phase.resolution, alpha=phase.alpha
                )

            # Step the discriminator.
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                real_score_B = state.discriminator(real_BCHW, real_label_BL, alpha=phase.alpha)
                fake_score_B = state.discriminator(
                    fake_BCHW.detach(), fake_label_BL, alpha=phase.alpha
                )
            loss_d = discriminator_loss(real_score_B, fake_score_B)
            scalars = {
                "loss_d": loss_d,
                "score_real": real_score_B.float().mean(),
                "score_fake": fake_score_B.float().mean(),
            }
            if config.loss.r1_gamma and state.step % config.loss.r1_interval == 0:
                r1 = _r1(state, real_BCHW, real_label_BL, phase)
                loss_d = loss_d + r1 * (config.loss.r1_gamma / 2 * config.loss.r1_interval)
                scalars["r1"] = r1
            state.optimizer_d.zero_grad()
            loss_d.backward()
            state.optimizer_d.step()

            # Step the generator.
            state.discriminator.requires_grad_(False)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                fake_score_B = state.discriminator(fake_BCHW, fake_label_BL, alpha=phase.alpha)
            loss_g = generator_loss(fake_score_B)
            state.optimizer_g.zero_grad()
            loss_g.backward()
            state.optimizer_g.step()
            state.discriminator.requires_grad_(True)
            scalars["loss_g"] = loss_g

            # Update the averaged generator, and the position.
            state.update_average(average_decay_at(state.images_seen, phase.batch_size, config))
            before = state.images_seen
            state.images_seen += phase.batch_size
            state.step += 1
            window.add(scalars)

            # Log, show and save what is due.
            done = state.images_seen >= total_images or stop.signal is not None
            if done or _due(config.log_kimg, before, state.images_seen):
                journal.log(state.images_seen, phase, window.take(state.images_seen))
            if done or _due(config.sample_kimg, before, state.images_seen):
                pixels = _sample(state, grid_latents, _labels(grid_labels, device), phase)
                journal.samples(state.images_seen, pixels, network.resolution)
            if done or _due(config.snapshot_kimg, before, state.images_seen):
                window.take(state.images_seen)
                save_snapshot(run, state.snapshot({}), config.keep_snapshots)

        if stop.signal is not None:
            journal.say(
                f"stopped at {state.images_seen / 1000:.1f} kimg, snapshot written; "
                "go on with --resume"
            )
    return stop


def read_run(run: Path) -> TrainConfig:
    """The configuration of an existing run. Raises ConfigError where there is none."""
    path = run / "config.json"
    try:
        return TrainConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(f"{run} holds no run (no config.json): name a run folder") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error


def _open_run(
    config: TrainConfig,
    dataset: Dataset,
    run: Path,
    state: TrainingState,
    resume: bool,
    console: Console,
) -> None:
    """Make the run folder, or restore the state from it."""
    facts = {"name": dataset.name, "digest": dataset.digest, "pictures": len(dataset)}
    if resume:
        known = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
        if known["digest"] != facts["digest"]:
            raise SnapshotError(
                f"{run} was trained on {known['name']} ({known['digest'][:12]}…), {dataset.archive}"
                " holds other pictures: resume with the archive it started with"
            )
        snapshot, passed_over = load_newest(run)
        for sentence in passed_over:
            console.print(f"passed over: {sentence}", highlight=False)
        state.restore(snapshot)
        console.print(f"resumed at {state.images_seen / 1000:.1f} kimg", highlight=False)
    elif list_snapshots(run):
        raise ConfigError(f"{run} already holds a run: pass --resume, or choose another folder")
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text(json.dumps(config.to_dict(), indent=2))
        (run / "dataset.json").write_text(json.dumps(facts, indent=2))
    except OSError as error:
        raise ConfigError(f"{run} cannot be written ({error}): choose another folder") from error


def _use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16: asked for, or native to the device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _labels(label_BL: NDArray[np.float32], device: torch.device) -> Tensor | None:
    """To the device; None for a data set without attributes."""
    return torch.from_numpy(label_BL).to(device) if label_BL.shape[1] else None


def _fade(image_BCHW: Tensor, phase: Phase) -> Tensor:
    """Real pictures lose the detail that the fading networks cannot show yet."""
    if phase.alpha >= 1.0:
        return image_BCHW
    return torch.lerp(upsample(downsample(image_BCHW)), image_BCHW, phase.alpha)


def _r1(state: TrainingState, image_BCHW: Tensor, label_BL: Tensor | None, phase: Phase) -> Tensor:
    return r1_penalty(
        lambda image: state.discriminator(image, label_BL, alpha=phase.alpha), image_BCHW
    )


@torch.no_grad()
def _sample(
    state: TrainingState, z_NZ: Tensor, label_NL: Tensor | None, phase: Phase
) -> NDArray[np.uint8]:
    """The averaged generator's pictures image_NHWC, as far as it has grown."""
    image = state.average(z_NZ, label_NL, resolution=phase.resolution, alpha=phase.alpha)
    return to_pixels(image).cpu().numpy()


def _due(every_kimg: float, before: int, after: int) -> bool:
    """Whether a multiple of `every_kimg` lies in (before, after]."""
    every = every_kimg * 1000
    return after // every > before // every


@contextmanager
def _signals() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second SIGINT interrupts."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        stop.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
