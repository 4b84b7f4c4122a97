"""A tiny conditional generator for tests, with random weights and two attributes."""

import numpy as np
import torch

from models import Attribute, Generator, GeneratorConfig

GENDER = Attribute("gender", ("male", "female"), (0.4, 0.6))
AGE = Attribute("age", ("0-9", "10-19", "20+"), (0.2, 0.3, 0.5))
ATTRIBUTES = (GENDER, AGE)
JOINT_PRIOR = np.array([[0.1, 0.0, 0.3], [0.1, 0.3, 0.2]])


def tiny_generator(resolution: int = 16, label_dim: int = 5) -> Generator:
    """Fixed random weights; pictures use the whole range from black to white."""
    torch.manual_seed(0)
    config = GeneratorConfig(
        resolution=resolution,
        latent_dim=16,
        label_dim=label_dim,
        label_embed_dim=8 if label_dim else 0,
        fmap_base=8 * resolution,
        fmap_max=32,
    )
    return Generator(config).eval().requires_grad_(False)
