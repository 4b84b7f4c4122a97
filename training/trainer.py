"""The front door of training: one visible loop from a data set to a trained run folder.

A run folder holds `config.json`, `dataset.json`, `origin.json`, `machines.json`, `metrics.jsonl`,
`best.json`, `tensorboard/`, `samples/` and `snapshots/`. Knows nothing about checkpoints.
"""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from models.layers import stddev_group
from training.augment import draws
from training.backbone import backbone_of
from training.config import TrainConfig
from training.dataset import Dataset
from training.diagnostics import overfitting_share
from training.distributed import World
from training.feed import Feed
from training.growing import distil_new_layers
from training.inputs import prepared
from training.journal import Journal, SilentJournal, Window
from training.label_draw import draw_labels, label_vectors
from training.machines import note_machine, this_machine
from training.measure import better, quick_figures, sample
from training.origin import Origin
from training.recorded_steps import Steps
from training.run_folder import (
    best_before,
    newest_snapshot,
    read_run,
    start_run,
    write_best,
    write_facts,
)
from training.sampler import Sampler, Stream, generator_for
from training.schedule import Phase, average_decay_at, fade_ends, grows, phase_at
from training.snapshot import save_snapshot
from training.state import TrainingState, fixed_latents
from training.steps import Setup, mean_score, use_bf16
from training.stopping import Stop, stop_signals

__all__ = ["Stop", "read_run", "train"]

GRID_SEEDS = range(64)
HELD_OUT_BATCHES = 4


def train(
    config: TrainConfig,
    dataset: Dataset,
    run: Path,
    *,
    device: torch.device,
    resume: bool = False,
    console: Console | None = None,
    world: World | None = None,
    origin: Origin | None = None,
) -> Stop:
    """Train to the end of the schedule, or until SIGINT or SIGTERM; says which.

    `resume` goes on from the newest whole snapshot of `run`, to the same weights as if it had
    never stopped; a new run begins with the weights of `origin`, or with fresh ones. `world`: the
    processes that share every batch. Raises TrainingError, with the run's last snapshot intact.
    """
    console, world = console or Console(), world or World()
    network = config.network.generator(dataset.label_dim)
    dataset.check_large_enough(network.resolution)
    world.check(config)
    sampler = Sampler(
        dataset,
        seed=config.seed,
        mirror=config.mirror,
        balanced=config.conditioning.draw == "balanced",
        holdout=config.holdout,
    )
    bf16 = use_bf16(config.precision, device)
    if not bf16:  # who asks for fp32 gets it: cuDNN would round factors to TF32
        torch.backends.cudnn.allow_tf32 = False
    backbone = backbone_of(config, device, bf16=bf16)
    setup = Setup(config, dataset.label_sizes, device, bf16, world, backbone)
    state = TrainingState.initial(config, network, device)
    window, best = Window(), None
    if origin is not None and not resume:
        origin.lend(state, dataset)
    if resume:
        snapshot = newest_snapshot(run, dataset, console if world.leads else Console(quiet=True))
        state.restore(snapshot)
        best = best_before(run, snapshot)
        window = Window(state.images_seen)
        if "window" in snapshot.extra:
            window.restore(snapshot.extra["window"])
    world.agree(state.images_seen, device)
    if world.leads:
        if resume:
            write_facts(run, config, dataset)
        else:
            start_run(run, config, dataset, origin.facts(state.companions) if origin else None)
        write_best(run, best)
        note_machine(run, state.images_seen, this_machine(device), world.size)
        dataset.images(config.schedule.start_resolution)  # unpacked before the others look
    world.wait()
    total_images = round(config.schedule.total_kimg * 1000)
    journal = (
        Journal(run, total_images, state.images_seen, console) if world.leads else SilentJournal()
    )

    take_step = Steps(state, setup)
    feed = Feed(sampler, config, world, device)
    with journal, closing(feed), stop_signals() as stop:
        stopping = False
        while state.images_seen < total_images and not stopping:
            # Look up where in the schedule we are.
            phase = phase_at(state.images_seen, config)
            state.set_learning_rates(phase)

            # Take this process's share of the next real pictures, labels and latents.
            inputs = feed.take(state.images_seen, phase)

            # Step the discriminators, then the generator, on the same generated pictures.
            scalars = take_step(inputs, phase)
            feed.prepare(state.images_seen + phase.batch_size)

            # Step the generator's average.
            if phase.generator_learns:
                decay = average_decay_at(state.images_seen, phase.batch_size, config)
                state.update_average(decay)

            # Update the augmentation and the position.
            scalars = world.mean(scalars)
            if "sign_real" in scalars:
                state.augmentation.adapt(scalars["sign_real"], phase.batch_size)
            before = state.images_seen
            state.images_seen += phase.batch_size
            state.step += 1
            window.add(scalars)
            if config.average_restart_kimg and _due(
                config.average_restart_kimg, before, state.images_seen
            ):
                state.restart_from_average()
            if config.schedule.reset_adam and fade_ends(before, state.images_seen, config):
                state.reset_adam()

            # Let a new resolution begin where the one below is.
            if config.schedule.distil_steps and grows(before, state.images_seen, config):
                grown = phase_at(state.images_seen, config)
                steps = config.schedule.distil_steps
                journal.say(f"{grown.resolution} px: {steps} steps to repeat what is there")
                journal.say(str(distil_new_layers(state, grown, sampler, setup)))

            # Measure, log and show what is due.
            done, improved = state.images_seen >= total_images, False
            measuring = done or _due(config.metrics_kimg, before, state.images_seen)
            if measuring or _due(config.log_kimg, before, state.images_seen):
                row = window.take(state.images_seen)
                if world.leads:
                    row |= _held_out(state, sampler, phase, setup, row)
                if config.augment.mode == "adaptive":
                    row["augment_probability"] = state.augmentation.probability
                if measuring and world.leads:
                    figures = quick_figures(state, sampler, phase, setup)
                    known, best = best, better(best, figures, state.images_seen, phase, setup)
                    row, improved = row | figures, best != known
                journal.log(state.images_seen, phase, row)
            if world.leads and (done or _due(config.sample_kimg, before, state.images_seen)):
                pixels = _grid(state, dataset, sampler, phase, setup)
                journal.samples(state.images_seen, pixels, network.resolution)

            # Save what is due.
            stop.signal = world.largest(stop.signal or 0, device) or None
            stopping = stop.signal is not None
            saving = done or stopping or improved
            if saving or _due(config.snapshot_kimg, before, state.images_seen):
                extra = {
                    "window": window.to_dict(state.images_seen),
                    "best": asdict(best) if best else None,
                }
                if world.leads:
                    protected = best.images_seen if best else None
                    save_snapshot(run, state.snapshot(extra), config.keep_snapshots, protected)
                    write_best(run, best)

        if stopping:
            journal.say(
                f"stopped at {state.images_seen / 1000:.1f} kimg, snapshot written; "
                "go on with --resume"
            )
    return stop


def _held_out(
    state: TrainingState,
    sampler: Sampler,
    phase: Phase,
    setup: Setup,
    means: dict[str, float],
) -> dict[str, float]:
    """How the discriminator scores pictures it was never trained on; nothing without such."""
    # In groups as large as in training: it sees how much the pictures of a group differ.
    group, most = stddev_group(phase.batch_size), HELD_OUT_BATCHES * phase.batch_size
    few = range(min(most, len(sampler.held_out_rows)), 0, -1)
    size = next((n for n in few if stddev_group(n) == group), 0)
    if not size:
        return {}
    seen = state.images_seen
    real = sampler.held_out(phase.resolution, size, images_seen=seen)
    image_BCHW, label_BL = prepared(real, phase, sampler, setup.device)
    random = generator_for(setup.config.seed, Stream.MEASURE, seen)
    draw_BK = torch.from_numpy(draws(random, len(image_BCHW))).to(setup.device)
    score = mean_score(state, image_BCHW, label_BL, draw_BK, phase, setup)
    r_v = overfitting_share(means["score_real"], score, means["score_fake"])
    return {"score_held_out": score, "r_v": r_v}


def _grid(
    state: TrainingState, dataset: Dataset, sampler: Sampler, phase: Phase, setup: Setup
) -> NDArray[np.uint8]:
    """image_NHWC of the averaged generator, as the server would show the seeds."""
    z_NZ = fixed_latents(GRID_SEEDS, setup.config.network.latent_dim)
    attributes, joint_prior = dataset.attributes(), dataset.joint_prior()
    index_NA = [draw_labels(seed, attributes, joint_prior) for seed in GRID_SEEDS]
    label_NL = label_vectors(index_NA, attributes)
    return sample(state, z_NZ, label_NL, phase, sampler, setup)


def _due(every_kimg: float, before: int, after: int) -> bool:
    """Whether a multiple of `every_kimg` lies in (before, after]."""
    every = every_kimg * 1000
    return after // every > before // every
