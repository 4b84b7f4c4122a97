"""Whatever labels a data set has, a run learns them, and says how varied each one's pictures are.

The pictures are coloured grounds, lit from one side: the label is the colour, the rest is chance.
"""

import colorsys
import io
import json
import math
import zipfile
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from models import Generator, to_pixels
from training.config import ConditioningConfig, NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.diagnostics import diagnose
from training.export import averaged_generator
from training.measure import quick_figures
from training.sampler import Sampler
from training.schedule import phase_at
from training.snapshot import load_newest
from training.state import TrainingState
from training.steps import Setup
from training.trainer import train

CPU = torch.device("cpu")
SIDE = 8
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(SIDE, latent_dim=16, label_embed_dim=16, fmap_base=128, fmap_max=32),
    schedule=ScheduleConfig(total_kimg=8, start_resolution=SIDE, batch_size=16, learning_rate=5e-3),
    conditioning=ConditioningConfig(draw="balanced"),
    precision="fp32",
    average_half_life_kimg=0.3,
    snapshot_kimg=8,
    sample_kimg=8,
    metrics_kimg=0.8,
    metrics_samples=64,
)
COUNTS = {"two": [60, 60], "fourteen": [20] * 14, "uneven": [1000, 20], "none": [120]}
KIMG = {"two": 2.0, "fourteen": 4.8, "uneven": 8.0, "none": 1.2}
RARE = 1  # value of which the uneven set has a fiftieth


def picture(values: int, value: int, random: np.random.Generator) -> np.ndarray:
    """image_HWC: the colour of its value, darker or lighter, lit from somewhere."""
    ground = np.array(colorsys.hsv_to_rgb(value / max(values, 1), 0.7, 0.6)) * 255
    slope = np.linspace(-1, 1, SIDE)
    light_HW = random.uniform(-50, 50) * slope[:, None] + random.uniform(-50, 50) * slope
    image = ground * random.uniform(0.5, 1.3) + light_HW[:, :, None]
    return image.clip(0, 255).astype(np.uint8)


def archive_of(path: Path, counts: list[int]) -> Dataset:
    """A data set with so many pictures of each value; without values where there is one count."""
    values = len(counts) if len(counts) > 1 else 0
    random, labels = np.random.default_rng(0), []
    with zipfile.ZipFile(path, "w") as archive:
        for value, count in enumerate(counts):
            for i in range(count):
                buffer, name = io.BytesIO(), f"images/{value}-{i}.png"
                Image.fromarray(picture(values, value, random)).save(buffer, "PNG")
                archive.writestr(name, buffer.getvalue())
                labels.append([name, [value] if values else []])
        names = [f"v{value}" for value in range(values)]
        description = {
            "format_version": 1,
            "name": path.stem,
            "resolution": SIDE,
            "attributes": [{"name": "colour", "values": names}] if values else [],
            "labels": labels,
            "digest": sha256(json.dumps(counts).encode()).hexdigest(),
        }
        archive.writestr("dataset.json", json.dumps(description))
    return Dataset(path)


@dataclass
class Run:
    dataset: Dataset
    rows: list[dict[str, Any]]
    generator: Generator

    def diversity(self) -> dict[str, float]:
        """What the last line of the log says of each label."""
        prefix = "diversity/colour="
        return {k.removeprefix(prefix): v for k, v in self.rows[-1].items() if k.startswith(prefix)}


def trained(folder: Path, counts: list[int], kimg: float) -> Run:
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, total_kimg=kimg))
    dataset = archive_of(folder / "grounds.zip", counts)
    train(config, dataset, folder / "run", device=CPU, console=Console(quiet=True))
    rows = [json.loads(x) for x in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    snapshot, _ = load_newest(folder / "run")
    return Run(dataset, rows, averaged_generator(snapshot, config, dataset.label_dim))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each label set; every one of them comes to its end."""
    return {
        name: trained(tmp_path_factory.mktemp(name), n, KIMG[name]) for name, n in COUNTS.items()
    }


@pytest.mark.parametrize("name", COUNTS)
def test_losses_and_scores_stay_finite_to_the_end(runs: dict[str, Run], name: str) -> None:
    rows = runs[name].rows
    assert rows[-1]["images_seen"] == 1000 * KIMG[name]
    for key in ("loss_d", "loss_g", "score_real", "score_fake", "swd", "diversity"):
        values = [row[key] for row in rows if key in row]
        assert values
        assert all(map(math.isfinite, values))


@pytest.mark.parametrize("name", ["two", "fourteen", "uneven"])
def test_labels_reach_the_pictures(runs: dict[str, Run], name: str) -> None:
    dataset, generator = runs[name].dataset, runs[name].generator
    values = dataset.label_dim
    z_NZ = torch.from_numpy(np.random.default_rng(1).standard_normal((64, 16), np.float32))
    real, index = dataset.images(SIDE), dataset.index_NA[:, 0]
    real_VC = np.array([real[index == value].mean(axis=(0, 1, 2)) for value in range(values)])
    made_VC = np.array(
        [
            to_pixels(generator(z_NZ, label.expand(len(z_NZ), values))).numpy().mean(axis=(0, 1, 2))
            for label in torch.eye(values)
        ]
    )
    # Asked for a value, the same latents give a colour that lies where that value's does.
    real_VC, made_VC = real_VC - real_VC.mean(axis=0), made_VC - made_VC.mean(axis=0)
    likeness = (real_VC * made_VC).sum() / (np.linalg.norm(real_VC) * np.linalg.norm(made_VC))
    assert likeness > 0.3
    assert np.linalg.norm(made_VC) > 0.3 * np.linalg.norm(real_VC)


@pytest.mark.parametrize("name", COUNTS)
def test_diversity_is_told_of_every_label(runs: dict[str, Run], name: str) -> None:
    # Also of those that the few measured pictures hardly show: a fiftieth, or a fourteenth.
    diversity = runs[name].diversity()
    assert len(diversity) == (len(COUNTS[name]) if name != "none" else 0)
    # A young network has little variety, a collapsed one none.
    assert min([runs[name].rows[-1]["diversity"], *diversity.values()]) > 0.15


class OnePicture(Generator):
    """Collapsed under the rare value: it makes the same picture of every latent."""

    def forward(self, z_BZ: Tensor, y_BL: Tensor | None = None, **options: Any) -> Tensor:
        assert y_BL is not None
        fixed_BZ = torch.ones_like(z_BZ)
        return super().forward(torch.where(y_BL[:, [RARE]] > 0, fixed_BZ, z_BZ), y_BL, **options)


def test_the_rare_label_does_not_collapse_and_would_be_named(runs: dict[str, Run]) -> None:
    run, rare = runs["uneven"], f"v{RARE}"
    assert run.diversity()[rare] > 0.25
    state = TrainingState.initial(CONFIG, run.generator.config, CPU)
    state.average = OnePicture(run.generator.config)
    state.average.load_state_dict(run.generator.state_dict())
    setup = Setup(CONFIG, run.dataset.label_sizes, CPU, bf16=False)
    phase = phase_at(0, CONFIG)
    figures = quick_figures(state, Sampler(run.dataset, seed=0), phase, setup)
    assert figures[f"diversity/colour={rare}"] < 0.01
    # All the other pictures hide it; the log by label does not.
    assert figures["diversity"] > 0.25
    assert (
        f"colour={rare} (0%)" in diagnose(run.rows + 3 * [run.rows[-1] | figures])["mode_collapse"]
    )
