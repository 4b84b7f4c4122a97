"""EfficientNet-lite0, frozen, as what a feature discriminator sees pictures through.

The same weights as the measure of that name (training/metrics/efficientnet.py), but here pictures
keep their size, maps of several depths come out, and gradients reach the picture. Knows nothing
about heads or training.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.config import TrainConfig
from training.errors import ConfigError, EvaluationError
from training.feature_discriminator import TAPS, Backbone
from training.metrics.efficientnet import (
    blocks,
    efficientnet_file,
    load_efficientnet,
)
from training.metrics.weights import EPSILON, STATISTICS, Weights

SMALLEST, LARGEST = 128, 256
"""Sides between which pictures keep their size: smaller ones are enlarged, larger ones averaged."""
TAKEN = {2: 9.3, 4: 8.0, 10: 7.2, 15: 1.9}
"""Blocks whose ends are taken, and the deviation of their features over portraits of 128 px."""


def backbone_of(config: TrainConfig, device: torch.device, *, bf16: bool) -> Backbone | None:
    """What the run's discriminators of features and variety see through; None without either."""
    wanted = config.features.weight or config.variety.weight
    return FrozenEfficientNet(device, bf16=bf16) if wanted else None


class FrozenEfficientNet:
    """image_BCHW in [−1, 1] → the maps that `TAPS` names, each of unit deviation or so.

    Raises ConfigError where its weights are not installed.
    """

    def __init__(self, device: torch.device, *, bf16: bool) -> None:
        try:
            weights = load_efficientnet(efficientnet_file())
        except EvaluationError as error:
            raise ConfigError(f"features.weight or variety.weight is above 0. {error}") from error
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._layers = {
            name: (
                kernel.to(device, self._dtype, memory_format=torch.channels_last),
                bias.to(device, self._dtype),
            )
            for name, (kernel, bias) in _folded(weights).items()
        }

    def __call__(self, image_BCHW: Tensor) -> list[Tensor]:
        side = image_BCHW.shape[-1]
        if side < SMALLEST:
            image_BCHW = F.interpolate(image_BCHW, (SMALLEST, SMALLEST), mode="bilinear")
        elif side > LARGEST:
            image_BCHW = F.avg_pool2d(image_BCHW, side // LARGEST)
        # Its own scale, (pixel − 127) / 128, is ours but for less than a half per cent.
        x = image_BCHW.to(self._dtype).contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, *self._layers["_conv_stem"], stride=2, padding=1)
        x = F.relu6(x, inplace=True)
        maps = []
        for number, block in enumerate(blocks()):
            before, name = x, block.name
            if block.hidden != block.source:
                x = _frozen(x, *self._layers[f"{name}._expand_conv"])
                x = F.relu6(x, inplace=True)
            x = _frozen(x, *self._layers[f"{name}._depthwise_conv"], block.stride)
            x = F.relu6(x, inplace=True)
            x = _frozen(x, *self._layers[f"{name}._project_conv"])
            if block.stride == 1 and block.source == block.channels:
                x = x + before
            if number in TAKEN:
                maps.append(x / TAKEN[number])
        assert [m.shape[1] for m in maps] == [tap.channels for tap in TAPS]
        return maps


def _folded(weights: Weights) -> dict[str, tuple[Tensor, Tensor]]:
    """Each convolution's kernel and bias, with the normalisation that follows it folded in.

    TensorFlow's SAME pads one more below and to the right where it halves an even side. A kernel
    with a row and a column of zeros before it sees the same with as much padding on every side,
    which a convolution has of its own.
    """
    layers = [("_conv_stem", "_bn0", 2)]
    for block in blocks():
        if block.hidden != block.source:
            layers.append((f"{block.name}._expand_conv", f"{block.name}._bn0", 1))
        layers.append((f"{block.name}._depthwise_conv", f"{block.name}._bn1", block.stride))
        layers.append((f"{block.name}._project_conv", f"{block.name}._bn2", 1))
    folded = {}
    for convolution, normalisation, stride in layers:
        gain, bias, mean, variance = (weights[f"{normalisation}.{name}"] for name in STATISTICS)
        scale = gain / (variance + EPSILON).sqrt()
        kernel = weights[f"{convolution}.weight"] * scale[:, None, None, None]
        if stride == 2:
            kernel = F.pad(kernel, (1, 0, 1, 0))
        folded[convolution] = kernel, bias - mean * scale
    return folded


def _frozen(x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    y: Tensor = _FrozenConvolution.apply(x, kernel, bias, stride)  # type: ignore[no-untyped-call]
    return y


class _FrozenConvolution(torch.autograd.Function):
    """A 1×1 or a depthwise convolution whose weights want no gradient.

    The gradient by its input is then a convolution with the turned kernel, which on a CPU in
    bfloat16 takes a third of the time of the general backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, stride: int) -> Tensor:
        """At stride 1 with an odd kernel, at stride 2 with an even one, on an even side."""
        ctx.save_for_backward(kernel)
        ctx.groups = kernel.shape[0] if kernel.shape[1] == 1 else 1
        ctx.stride, ctx.padding = stride, (kernel.shape[-1] - 1) // 2
        if stride > 1 and x.is_cuda:
            # CUDA's fast depthwise kernels have odd sides: padded by hand, a third of the time.
            before, after = ctx.padding - 1, ctx.padding
            x = F.pad(x, (before, after, before, after))
            odd = kernel[:, :, 1:, 1:].contiguous(memory_format=torch.channels_last)
            return F.conv2d(x, odd, bias, stride=stride, groups=ctx.groups)
        return F.conv2d(x, kernel, bias, stride=stride, padding=ctx.padding, groups=ctx.groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (kernel,) = ctx.saved_tensors
        if ctx.stride > 1:
            grad = _apart(grad, ctx.stride)
        turned = kernel.flip(2, 3) if ctx.groups > 1 else kernel.transpose(0, 1)
        turned = turned.contiguous(memory_format=torch.channels_last)
        padding = kernel.shape[-1] - 1 - ctx.padding
        return F.conv2d(grad, turned, padding=padding, groups=ctx.groups), None, None, None


def _apart(grad_BCHW: Tensor, stride: int) -> Tensor:
    """With zeros between: a strided convolution's gradient on the grid of what it was given."""
    batch, channels, height, width = grad_BCHW.shape
    apart = torch.zeros(
        (batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1),
        dtype=grad_BCHW.dtype,
        device=grad_BCHW.device,
    ).contiguous(memory_format=torch.channels_last)
    apart[:, :, ::stride, ::stride] = grad_BCHW
    return apart
