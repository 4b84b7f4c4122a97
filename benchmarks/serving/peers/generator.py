"""What every peer serves: the shipped generator in torch, as a competent user would set it up.

Folded, bfloat16 where the CPU multiplies it, channels last; Pillow's PNG at its default.
"""

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models import load_checkpoint
from models.generator import to_pixels

BATCH = 8
WINDOW = 0.005
"""Seconds that a batch waits for company."""


class Faces:
    """seeds → PNGs."""

    def __init__(self) -> None:
        checkpoint = load_checkpoint(Path(os.environ["BENCH_CHECKPOINT"]))
        self.config = checkpoint.config
        self.dtype = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
        generator = checkpoint.build().fold().to(self.dtype)
        self.generator = generator.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def pixels(self, seeds: list[int]) -> list[np.ndarray]:
        """uint8 image_HWC of each seed, in one forward pass."""
        config = self.config
        z = np.stack([np.random.RandomState(s % 2**32).randn(config.latent_dim) for s in seeds])
        label = torch.zeros(len(seeds), config.label_dim, dtype=self.dtype)
        if config.label_dim:
            label[:, 0] = 1
        image = self.generator(
            torch.from_numpy(z).to(self.dtype), label if config.label_dim else None
        )
        return list(to_pixels(image).numpy())

    def pngs(self, seeds: list[int]) -> list[bytes]:
        """PNG of each seed."""
        return [png(pixels) for pixels in self.pixels(seeds)]


def png(pixels: np.ndarray) -> bytes:
    """Pillow's, at its default."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
