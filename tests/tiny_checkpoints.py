"""Checkpoints of random weights on disk, for servers that are tested for all but their faces."""

import io
from pathlib import Path

import torch
from PIL import Image
from tiny_models import ATTRIBUTES, JOINT_PRIOR, tiny_generator

from models import Discriminator, Generator, GeneratorConfig, save_checkpoint


def write_tiny(folder: Path) -> Path:
    """16 px: the engine takes next to no time."""
    return _write(folder, tiny_generator())


def write_judged(folder: Path, *, seed: int = 0) -> Path:
    """The same, with a critic of random weights, which likes some pictures better than others."""
    generator = tiny_generator()
    torch.manual_seed(seed)
    critic = Discriminator(generator.config)
    return _write(folder, generator, critic)


def write_slow(folder: Path, *, channels: int = 64) -> Path:
    """64 px, and large enough that the engine is what limits a server, not HTTP.

    With 64 channels a picture takes about ten times as long as its request, with 128 forty times.
    """
    torch.manual_seed(0)
    config = GeneratorConfig(64, 16, 5, 8, fmap_base=32 * channels, fmap_max=channels)
    return _write(folder, Generator(config).eval().requires_grad_(False))


def _write(folder: Path, generator: Generator, critic: Discriminator | None = None) -> Path:
    samples = io.BytesIO()
    Image.new("RGB", (16, 16)).save(samples, "PNG")
    save_checkpoint(
        folder,
        generator=generator,
        attributes=ATTRIBUTES,
        joint_prior=JOINT_PRIOR,
        provenance={"licence": "CC0-1.0"},
        readme="# random weights",
        samples_png=samples.getvalue(),
        critic=critic,
    )
    return folder
