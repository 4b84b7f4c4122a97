"""How much of the bare training step's speed the whole trainer keeps, in one run.

The bare step has its pictures ready and logs nothing; the trainer loads, logs, draws grids and
writes snapshots. Random pictures stand in for photographs: the arithmetic is the same.
"""

import argparse
import dataclasses
import io
import json
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from models import from_pixels
from training.config import ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.losses import ADVERSARIAL_LOSSES, r1_penalty
from training.presets import PRESETS
from training.sampler import Sampler
from training.state import TrainingState
from training.steps import use_bf16
from training.trainer import train

CPU = torch.device("cpu")


def write_archive(path: Path, count: int, resolution: int) -> Path:
    """Random pictures with one attribute."""
    random = np.random.default_rng(0)
    labels = []
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            buffer = io.BytesIO()
            pixels = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
            archive.writestr(f"images/{i}.png", buffer.getvalue())
            labels.append([f"images/{i}.png", [i % 2]])
        description = {
            "format_version": 1,
            "name": "noise",
            "resolution": resolution,
            "attributes": [{"name": "class", "values": ["a", "b"]}],
            "labels": labels,
            "digest": "0" * 64,
        }
        archive.writestr("dataset.json", json.dumps(description))
    return path


def steady(preset: str, resolution: int, images: int) -> TrainConfig:
    """The preset at its final batch size, at one resolution, with logs and snapshots as they are
    in the preset but at least once in the run. The measure at its end is kept small: in a whole run
    it comes once in 20 kimg."""
    config = PRESETS[preset]()
    batch = config.schedule.batch_size_by_resolution.get(resolution, config.schedule.batch_size)
    schedule = ScheduleConfig(
        total_kimg=images / 1000, start_resolution=resolution, batch_size=batch
    )
    network = dataclasses.replace(config.network, resolution=resolution)
    return dataclasses.replace(config, network=network, schedule=schedule, metrics_samples=16)


def bare_rate(config: TrainConfig, dataset: Dataset, steps: int) -> float:
    """Images/s of the optimisation steps alone."""
    resolution, batch = config.schedule.start_resolution, config.schedule.batch_size
    state = TrainingState.initial(config, config.network.generator(dataset.label_dim), CPU)
    real = Sampler(dataset, seed=0).batch(resolution, batch, images_seen=0)
    image, label = from_pixels(torch.from_numpy(real.image_BHWC)), torch.from_numpy(real.label_BL)
    z = torch.randn(batch, config.network.latent_dim)
    bf16 = use_bf16(config.precision, CPU)
    losses = ADVERSARIAL_LOSSES[config.loss.kind]
    seconds = 0.0
    for step in range(-1, steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            fake = state.generator(z, label, resolution=resolution)
            scores = state.discriminator(image, label), state.discriminator(fake.detach(), label)
        loss = losses.discriminator(*scores)
        if step % config.loss.r1_interval == 0:
            loss = loss + r1_penalty(lambda x: state.discriminator(x, label), image)
        state.optimizer_d.zero_grad()
        loss.backward()
        state.optimizer_d.step()
        state.discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = losses.generator(state.discriminator(fake, label))
        state.optimizer_g.zero_grad()
        loss.backward()
        state.optimizer_g.step()
        state.discriminator.requires_grad_(True)
        state.update_average(0.999)
        if step >= 0:  # the first one warms up
            seconds += time.perf_counter() - start
    return batch * steps / seconds


def trainer_rate(config: TrainConfig, dataset: Dataset, run: Path) -> float:
    """Images/s of `train`, from its own log, the first line (warm-up) left out."""
    train(config, dataset, run, device=CPU, console=Console(quiet=True))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seen = rows[-1]["images_seen"] - rows[0]["images_seen"]
    before = [0, *(row["images_seen"] for row in rows)]
    seconds = sum(
        (row["images_seen"] - start) / row["images_per_second"]
        for row, start in zip(rows[1:], before[1:], strict=False)
    )
    return seen / seconds


def main() -> None:
    """Print one row per resolution: both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="faces_64", choices=PRESETS)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, preset {options.preset}")
    print(f"{'resolution':>10} {'bare images/s':>14} {'trainer images/s':>17} {'ratio':>6}")
    for resolution in options.resolutions:
        config = steady(options.preset, resolution, options.images)
        steps = max(options.images // config.schedule.batch_size, 16)
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as folder:
                dataset = Dataset(write_archive(Path(folder) / "noise.zip", 512, resolution))
                dataset.images(resolution)  # unpacked before the clock starts
                bare = bare_rate(config, dataset, steps)
                whole = trainer_rate(config, dataset, Path(folder) / "run")
            print(f"{resolution:10} {bare:14.1f} {whole:17.1f} {whole / bare:6.2f}")


if __name__ == "__main__":
    main()
