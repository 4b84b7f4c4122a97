"""The progressive generator: (latent, label) → picture, at any resolution it has grown to.

Knows nothing about files, training or label names: a label is a float vector here.
Source: Karras et al., "Progressive Growing of GANs" (arXiv 1710.10196), table 2.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    UpsampleConv2d,
    folded,
    leaky_relu,
    pixel_norm,
    upsample,
)

MIN_RESOLUTION = 4
MAX_RESOLUTION = 1024
PIXEL_NORMS = ("latent", "dense", "base", "blocks")
"""Where pixel norms can stand: on latent and label, after the dense layer, after the 4×4
convolution, after every later convolution."""


@dataclass(frozen=True)
class GeneratorConfig:
    """What fixes the generator's shape (and, mirrored, the discriminator's).

    Raises ValueError, naming the field and the remedy, where a value makes no network.
    """

    resolution: int
    """Side of the finished picture in pixels: a power of two, 8 to 1024."""
    latent_dim: int = 512
    """Z: length of the latent vector."""
    label_dim: int = 0
    """L: length of the label vector (the attributes' one-hots in a row); 0: unconditional."""
    label_embed_dim: int = 0
    """Labels pass a linear layer to this length and a pixel norm of their own before they join
    the latent; 0: they join it as they are (the paper's way)."""
    fmap_base: int = 8192
    """Feature maps at resolution R: min(fmap_base / 2^s, fmap_max), s = log2(R) − 1."""
    fmap_max: int = 512
    """The most feature maps any layer has."""
    pixel_norms: tuple[str, ...] = PIXEL_NORMS
    """Which of `PIXEL_NORMS` the network has: all, but for imported weights of other projects."""

    def __post_init__(self) -> None:
        if self.resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(
                f"resolution is {self.resolution}, which no network can have: "
                "choose a power of two from 8 to 1024"
            )
        for field in ("latent_dim", "fmap_base", "fmap_max"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        for field in ("label_dim", "label_embed_dim"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be 0 or more")
        if self.pixel_norms != tuple(n for n in PIXEL_NORMS if n in self.pixel_norms):
            raise ValueError(
                f"pixel_norms is {self.pixel_norms}: name any of {', '.join(PIXEL_NORMS)}, in order"
            )
        if self.label_embed_dim and not self.label_dim:
            raise ValueError("label_embed_dim is set but label_dim is 0: set both or neither")
        if self.channels(self.resolution) < 1:
            raise ValueError(
                f"fmap_base {self.fmap_base} leaves no feature map at {self.resolution} px: "
                f"use at least {self.resolution // 2}"
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Every resolution on the way: 4, 8, … `resolution`."""
        return tuple(2**k for k in range(2, int(math.log2(self.resolution)) + 1))

    def channels(self, resolution: int) -> int:
        """Number of feature maps at `resolution`."""
        return min(self.fmap_base * 2 // resolution, self.fmap_max)

    def stage(self, resolution: int | None) -> int:
        """Index of `resolution` among `resolutions` (0 is 4 px); None means the last.

        Raises ValueError for a resolution the network does not pass through.
        """
        if resolution is None:
            return len(self.resolutions) - 1
        if resolution not in self.resolutions:
            known = ", ".join(map(str, self.resolutions))
            raise ValueError(f"resolution {resolution} is not one of this network's: {known}")
        return self.resolutions.index(resolution)


class SynthesisBlock(nn.Module):
    """×2, then two 3×3 convolutions: x_BCHW → x_BD(2H)(2W)."""

    def __init__(self, channels_in: int, channels_out: int, norm: bool = True) -> None:
        super().__init__()
        self.conv0 = UpsampleConv2d(channels_in, channels_out)
        self.conv1 = EqualizedConv2d(channels_out, channels_out, 3)
        self.norm = norm

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = _maybe_norm(leaky_relu(self.conv0(x_BCHW)), self.norm)
        return _maybe_norm(leaky_relu(self.conv1(x)), self.norm)


class Generator(nn.Module):
    """G(z, y): pictures in about [−1, 1]; the last layer is linear, so values may pass the ends."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.channels(r) for r in config.resolutions]
        self.embed = (
            EqualizedLinear(config.label_dim, config.label_embed_dim, gain=1.0)
            if config.label_embed_dim
            else None
        )
        features_in = config.latent_dim + (config.label_embed_dim or config.label_dim)
        self.dense = EqualizedLinear(features_in, channels[0] * 16, gain=math.sqrt(2) / 4)
        self.conv = EqualizedConv2d(channels[0], channels[0], 3)
        norms = config.pixel_norms
        self.norm_latent, self.norm_dense = "latent" in norms, "dense" in norms
        self.norm_base = "base" in norms
        self.blocks = nn.ModuleList(
            SynthesisBlock(a, b, "blocks" in norms) for a, b in itertools.pairwise(channels)
        )
        self.to_rgb = nn.ModuleList(EqualizedConv2d(c, 3, 1, gain=1.0) for c in channels)

    def forward(
        self,
        z_BZ: Tensor,
        y_BL: Tensor | None = None,
        *,
        resolution: int | None = None,
        alpha: float = 1.0,
    ) -> Tensor:
        """Pictures image_BCHW, C = 3, at `resolution` (default: the full one).

        `y_BL`: float one-hots of all attributes in a row; required where label_dim > 0.
        `alpha` in [0, 1]: share of the new resolution while it fades in; 0 is exactly the
        upsampled picture of the resolution below.
        """
        stage = self.config.stage(resolution)
        below, x = self._climb(z_BZ, y_BL, stage)
        image = self.to_rgb[stage](x)
        if stage and alpha < 1.0:
            old = upsample(self.to_rgb[stage - 1](below))
            image = torch.lerp(
                old.to(image.dtype), image, alpha
            )  # CUDA's autocast enlarges in fp32
        return image

    def features(self, z_BZ: Tensor, y_BL: Tensor | None, resolution: int) -> Tensor:
        """Feature maps x_BCHW at `resolution`, of which `to_rgb` makes the picture there."""
        return self._climb(z_BZ, y_BL, self.config.stage(resolution))[1]

    def fold(self) -> "Generator":
        """A copy for inference, with nothing left to be made of its weights at each call."""
        return folded(self)

    def _climb(self, z_BZ: Tensor, y_BL: Tensor | None, stage: int) -> tuple[Tensor, Tensor]:
        """Feature maps of the stage below (of 4 px: of itself), and of `stage`."""
        x = self._base(z_BZ, y_BL)
        below = x
        for block in self.blocks[:stage]:
            below, x = x, block(x)
        return below, x

    def _base(self, z_BZ: Tensor, y_BL: Tensor | None) -> Tensor:
        """Latent and label to the first 4×4 feature maps."""
        if (y_BL is None) != (self.config.label_dim == 0):
            raise ValueError(
                f"this generator has label_dim {self.config.label_dim}: "
                + ("pass y_BL" if y_BL is None else "do not pass y_BL")
            )
        if y_BL is None:
            code = z_BZ
        elif self.embed is None:
            code = torch.cat([z_BZ, y_BL], dim=1)
        else:
            code = torch.cat([pixel_norm(z_BZ), pixel_norm(self.embed(y_BL))], dim=1)
        x = leaky_relu(self.dense(_maybe_norm(code, self.norm_latent)))
        x = _maybe_norm(x.reshape(code.shape[0], -1, 4, 4), self.norm_dense)
        return _maybe_norm(leaky_relu(self.conv(x)), self.norm_base)


def _maybe_norm(x: Tensor, norm: bool) -> Tensor:
    return pixel_norm(x) if norm else x


def to_pixels(image_BCHW: Tensor) -> Tensor:
    """Pictures in [−1, 1] → uint8 image_BHWC; values past the ends are clipped."""
    pixels = (image_BCHW.float() * 127.5 + 127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_pixels(image_BHWC: Tensor) -> Tensor:
    """uint8 image_BHWC → float pictures in [−1, 1], channels last in memory."""
    return image_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
