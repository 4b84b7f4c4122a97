"""The layers both networks are made of: equalized convolution and dense, the two norms, resampling.

Knows nothing about resolutions, growing or labels. Source: Karras et al., "Progressive Growing of
GANs" (arXiv 1710.10196), section 4 and appendix A.
"""

import copy
import math
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Network = TypeVar("Network", bound=nn.Module)
LEAK = 0.2


class _Equalized(nn.Module):
    """Weights ~ N(0, 1), multiplied at run time by gain/√fan_in (equalized learning rate).

    The run-time factor keeps every layer's effective learning rate the same under Adam, whatever
    its width. The bias is not scaled. `fold()` moves the factor into the weights for inference.
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, weight_shape: tuple[int, ...], gain: float) -> None:
        super().__init__()
        fan_in = math.prod(weight_shape[1:])
        self.weight = nn.Parameter(torch.randn(weight_shape))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0]))
        self.scale = gain / math.sqrt(fan_in)

    def effective_weight(self) -> Tensor:
        return self.weight if self.scale == 1.0 else self.weight * self.scale

    @torch.no_grad()
    def fold(self) -> None:
        self.weight.mul_(self.scale)
        self.scale = 1.0


def folded(network: Network) -> Network:
    """A copy for inference, with nothing left to be made of its weights at each call."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for module in copied.modules():
        if isinstance(module, _Equalized):
            module.fold()
    return copied


class EqualizedConv2d(_Equalized):
    """A size-preserving k×k convolution, x_BCHW → x_BDHW."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__((channels_out, channels_in, kernel, kernel), gain)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return F.conv2d(x_BCHW, self.effective_weight(), self.bias, padding=padding)


class _ResamplingConv2d(EqualizedConv2d):
    """A 3×3 convolution and a resampling, both linear, as one convolution with a 4×4 kernel.

    `fold()` leaves that kernel as the weight.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)

    def kernel(self) -> Tensor:
        """The 4×4 kernel, as the layer's convolution takes it."""
        return self.weight if self.weight.shape[-1] == 4 else self._resampled()

    def _resampled(self) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def fold(self) -> None:
        super().fold()
        self.weight = nn.Parameter(self.kernel().contiguous(), requires_grad=False)


class UpsampleConv2d(_ResamplingConv2d):
    """Nearest-neighbour ×2, then a 3×3 convolution: x_BCHW → x_BD(2H)(2W).

    One transposed convolution, kernel [in, out, 4, 4]: 2.25 times fewer multiplications and no
    large intermediate picture. The official code calls it `upscale2d_conv2d`.
    """

    def _resampled(self) -> Tensor:
        return _smear(self.effective_weight().flip(2, 3)).transpose(0, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.conv_transpose2d(x_BCHW, self.kernel(), self.bias, stride=2, padding=1)


class DownsampleConv2d(_ResamplingConv2d):
    """A 3×3 convolution, then 2×2 average pooling, as one of stride 2: x_BCHW → x_BD(H/2)(W/2).

    The kernel is [out, in, 4, 4]. Bias and activation follow the pooling, as they do in the
    official code's `conv2d_downscale2d`.
    """

    def _resampled(self) -> Tensor:
        return _smear(self.effective_weight()) / 4

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.conv2d(x_BCHW, self.kernel(), self.bias, stride=2, padding=1)


def _smear(weight_OIHW: Tensor) -> Tensor:
    """Full convolution of each kernel with a 2×2 box of ones: k×k → (k+1)×(k+1)."""
    rows = F.pad(weight_OIHW, (0, 0, 0, 1)) + F.pad(weight_OIHW, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))


class EqualizedLinear(_Equalized):
    """A dense layer, x_BI → x_BO."""

    def __init__(self, features_in: int, features_out: int, gain: float = math.sqrt(2)) -> None:
        super().__init__((features_out, features_in), gain)

    def forward(self, x_BI: Tensor) -> Tensor:
        return F.linear(x_BI, self.effective_weight(), self.bias)


def leaky_relu(x: Tensor) -> Tensor:
    """max(x, 0.2·x)."""
    return F.leaky_relu(x, LEAK)


class _PixelNorm(torch.autograd.Function):
    """Its gradient by hand: a third of the time of what autograd derives from the formula."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        # A sum, divided: `mean` of bfloat16 over dim 1 first makes a copy in float32.
        scale = torch.rsqrt((x * x).sum(dim=1, keepdim=True) / x.shape[1] + epsilon)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        along = (y * grad).sum(dim=1, keepdim=True) / y.shape[1]
        return torch.addcmul(grad, y, along, value=-1).mul_(scale), None


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Divide the feature vector (dim 1) at each pixel by its root mean square; shape unchanged.

    Differentiable once: nothing here needs a second derivative of the generator.
    """
    y: Tensor = _PixelNorm.apply(x, epsilon)  # type: ignore[no-untyped-call]
    return y


def upsample(x_BCHW: Tensor) -> Tensor:
    """Nearest-neighbour ×2."""
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest")


def downsample(x_BCHW: Tensor) -> Tensor:
    """2×2 average pooling."""
    return F.avg_pool2d(x_BCHW, 2)


def stddev_group(batch: int, group_size: int = 4) -> int:
    """How many pictures of a batch `minibatch_stddev` compares with each other."""
    return next(g for g in range(min(group_size, batch), 0, -1) if batch % g == 0)


def minibatch_stddev(x_BCHW: Tensor, group_size: int = 4) -> Tensor:
    """Append one map holding how much the pictures of a group differ: x_BCHW → x_B(C+1)HW.

    Groups are strided through the batch (picture i is in group i mod B/G). Where B is not a
    multiple of `group_size`, the largest divisor of B below it is used. Source: section 3.
    """
    batch, channels, height, width = x_BCHW.shape
    group = stddev_group(batch, group_size)
    # At least float32: a difference of near-equal numbers loses everything in bfloat16.
    exact_BCHW = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32))
    x_GMCHW = exact_BCHW.reshape(group, batch // group, channels, height, width)
    # The formula, not `var`: that takes ten times as long over a strided first dimension.
    variance_MCHW = (x_GMCHW - x_GMCHW.mean(dim=0)).square().mean(dim=0)
    stddev_M = (variance_MCHW + 1e-8).sqrt().mean(dim=(1, 2, 3))
    map_B1HW = stddev_M.repeat(group).reshape(batch, 1, 1, 1).expand(batch, 1, height, width)
    return torch.cat([x_BCHW, map_B1HW.to(x_BCHW.dtype)], dim=1)
