"""A checkpoint's discriminator as the judge of single pictures, by torch on the CPU in float32.

Its scores say which of several pictures with the same labels looks most like a photograph to the
network that learned to tell them apart; they mean nothing between labels or models. Knows nothing
about requests, threads or turns.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import Checkpoint, Discriminator, from_pixels, load_critic


class TorchCritic:
    """`digest`: sha256 of the weights, hex; `takes_turns`: whether it and the engine share a
    device, so that only one of them should compute at a time."""

    def __init__(self, discriminator: Discriminator, digest: str, *, takes_turns: bool) -> None:
        self._discriminator = discriminator.fold()
        self._discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._labelled = discriminator.config.label_dim > 0
        self._digest = digest
        self.takes_turns = takes_turns

    @property
    def version(self) -> str:
        """What its scores depend on, beside the picture."""
        return f"{self._digest[:12]}, torch {torch.__version__.partition('+')[0]} cpu fp32"

    @property
    def weights_bytes(self) -> int:
        return sum(p.nbytes for p in self._discriminator.parameters())

    @torch.inference_mode()
    def score(self, image_HWC: NDArray[np.uint8], y_L: NDArray[np.float32]) -> float:
        """The greater the better, among pictures of the same labels.

        Always a batch of one: the minibatch deviation would make the score depend on company.
        """
        image_BCHW = from_pixels(torch.from_numpy(image_HWC)[None])
        y_BL = torch.from_numpy(y_L)[None] if self._labelled else None
        return float(self._discriminator(image_BCHW, y_BL))


def critic_of(checkpoint: Checkpoint, folder: Path, *, takes_turns: bool) -> TorchCritic | None:
    """The critic that the checkpoint in `folder` has, if any. Raises CheckpointError."""
    discriminator = load_critic(folder, checkpoint)
    if discriminator is None:
        return None
    digest = str(checkpoint.provenance["critic_sha256"])
    return TorchCritic(discriminator, digest, takes_turns=takes_turns)
