"""Differentiable augmentation: what the discriminator sees is changed, real and generated alike.

Shown only changed pictures, a discriminator cannot learn a small data set by heart; and because
the changes are differentiable, the generator still learns through them. Knows nothing about
networks. Sources: the changes are those of Zhao et al., "Differentiable Augmentation" (arXiv
2006.10738), section 3 and appendix; applied with a probability, and that adapted, after Karras et
al., "Training GANs with Limited Data" (arXiv 2006.06676), sections 2.2 and 3.1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import AugmentConfig

COLOUR, TRANSLATION, CUTOUT = slice(0, 4), slice(4, 7), slice(7, 10)
"""Draws of each change, the first being its chance."""
AGAIN = slice(6, 16)
"""Draws for another change of the same picture, in position alone: those that colour would take
are shared with the first."""
DRAWS = 16
"""K: uniform numbers in [0, 1) per picture."""


def augment(
    image_BCHW: Tensor, draw_BK: Tensor, probability: float, config: AugmentConfig
) -> Tensor:
    """Pictures in [−1, 1], changed as their draws say; with probability 0 the very same."""
    if config.mode == "off" or probability <= 0:
        return image_BCHW
    image_BCHW = image_BCHW.to(torch.promote_types(image_BCHW.dtype, torch.float32))
    if "colour" in config.kinds:
        image_BCHW = _colour(image_BCHW, draw_BK[:, COLOUR], probability)
    if "translation" in config.kinds:
        image_BCHW = _translate(image_BCHW, draw_BK[:, TRANSLATION], probability)
    if "cutout" in config.kinds:
        image_BCHW = _cut_out(image_BCHW, draw_BK[:, CUTOUT], probability)
    return image_BCHW


def _colour(image_BCHW: Tensor, draw_B4: Tensor, probability: float) -> Tensor:
    """Brightness ±0.5, saturation ×0 to 2, contrast ×0.5 to 1.5."""
    on_B = (draw_B4[:, 0] < probability).float()
    brightness, saturation, contrast = (
        (on_B * (draw_B4[:, i] - 0.5) * width).reshape(-1, 1, 1, 1)
        for i, width in ((1, 1.0), (2, 2.0), (3, 1.0))
    )
    image_BCHW = image_BCHW + brightness
    grey_B1HW = image_BCHW.mean(dim=1, keepdim=True)
    image_BCHW = image_BCHW + (image_BCHW - grey_B1HW) * saturation
    mean_B111 = image_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    return image_BCHW + (image_BCHW - mean_B111) * contrast


def _translate(image_BCHW: Tensor, draw_B3: Tensor, probability: float) -> Tensor:
    """Up to an eighth of the side in both directions; grey comes in from outside."""
    side = image_BCHW.shape[-1]
    reach = max(round(side / 8), 1)
    on_B = draw_B3[:, 0] < probability
    shift_B2 = torch.floor(draw_B3[:, 1:] * (2 * reach + 1)) - reach
    shift_B2 = torch.where(on_B[:, None], shift_B2, torch.zeros_like(shift_B2))
    # A product with 0/1 matrices: its gradient is exact and the same bits on every device.
    place = torch.arange(side, device=image_BCHW.device)
    source_B2H = place - shift_B2[:, :, None]
    move_B2HH = (source_B2H[:, :, :, None] == place).to(image_BCHW.dtype)
    rows_B1HH, columns_B1WW = move_B2HH[:, :1], move_B2HH[:, 1:]
    return rows_B1HH @ image_BCHW @ columns_B1WW.transpose(2, 3)


def _cut_out(image_BCHW: Tensor, draw_B3: Tensor, probability: float) -> Tensor:
    """A grey square of half the side, its middle anywhere in the picture."""
    side = image_BCHW.shape[-1]
    on_B = draw_B3[:, 0] < probability
    first_B2 = torch.floor(draw_B3[:, 1:] * side) - side // 4
    place = torch.arange(side, device=image_BCHW.device)
    inside_B2H = (place >= first_B2[:, :, None]) & (place < first_B2[:, :, None] + side // 2)
    hidden_BHW = inside_B2H[:, 0, :, None] & inside_B2H[:, 1, None, :] & on_B[:, None, None]
    return image_BCHW * (~hidden_BHW[:, None]).to(image_BCHW.dtype)


def draws(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """draw_BK for a batch."""
    # Those of the first change by themselves: they stay what they were before there were others.
    first, again = (
        random.random((size, count), dtype=np.float32)
        for count in (CUTOUT.stop, DRAWS - CUTOUT.stop)
    )
    return np.concatenate([first, again], axis=1)


@dataclass
class Augmentation:
    """How often pictures are changed, and what an adaptive probability remembers."""

    config: AugmentConfig
    probability: float = 0.0
    sign_sum: float | Tensor = 0.0
    """Sum over the steps since the last adaptation of the mean sign of D(real)."""
    steps: int = 0

    @classmethod
    def initial(cls, config: AugmentConfig) -> "Augmentation":
        """Fixed from the start, or adaptive from 0."""
        return cls(config, config.probability if config.mode == "fixed" else 0.0)

    def adapt(self, sign_real: Tensor, batch_size: int) -> None:
        """After each step: more where the discriminator is surer of real pictures than `target`.

        `sign_real`: the batch's mean sign of D(real), r_t of the paper.
        """
        if self.config.mode != "adaptive":
            return
        self.sign_sum = self.sign_sum + sign_real.detach().double()
        self.steps += 1
        if self.steps < self.config.interval:
            return
        excess = float(self.sign_sum) / self.steps - self.config.target
        move = batch_size * self.steps / (self.config.adaptation_kimg * 1000)
        moved = self.probability + float(np.sign(excess)) * move
        self.probability = min(max(moved, 0.0), self.config.max_probability)
        self.sign_sum, self.steps = 0.0, 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `restore` is its inverse."""
        return {
            "probability": self.probability,
            "sign_sum": float(self.sign_sum),
            "steps": self.steps,
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from `to_dict`; a fixed probability follows the configuration instead."""
        if self.config.mode == "adaptive":
            self.probability = data["probability"]
            self.sign_sum, self.steps = data["sign_sum"], data["steps"]
