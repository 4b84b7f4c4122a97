"""The contract training and service share: the networks and the checkpoint format.

Shapes stand in names: `z_BZ`, `y_BL`, `image_BCHW`. B batch, Z latent length, L label length (the
attributes' one-hots in a row), C channels, H height, W width, N pictures of a set, A attributes.
"""

from models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_companions,
    load_critic,
    save_checkpoint,
    weights_digest,
)
from models.description import Attribute, CheckpointError
from models.discriminator import Discriminator
from models.generator import Generator, GeneratorConfig, from_pixels, to_pixels

__all__ = [
    "Attribute",
    "Checkpoint",
    "CheckpointError",
    "Discriminator",
    "Generator",
    "GeneratorConfig",
    "from_pixels",
    "load_checkpoint",
    "load_companions",
    "load_critic",
    "save_checkpoint",
    "to_pixels",
    "weights_digest",
]
