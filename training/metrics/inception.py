"""Inception v3 as the Fréchet inception distance uses it: pictures → 2048 numbers each.

The network of Szegedy et al. (arXiv 1512.00567) in the variant of the original FID (Heusel et al.,
arXiv 1706.08500): 1008 classes; average pools that do not count their padding, a maximum pool in
the last block, and TensorFlow 1's way to resize pictures. The weights are the user's own: a PyTorch
state dict with the names of `pt_inception-2015-12-05`. It knows nothing of measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from training.metrics.weights import (
    Weights,
    normalised_convolution,
    normalised_convolution_shapes,
    read_weights,
)

SIDE, FEATURES, CLASSES = 299, 2048, 1008

Convolution = tuple[str, int, int, int]  # name, channels, height and width of the kernel
Step = tuple[Convolution, ...]  # side by side on the same input, then joined
Branch = tuple[Step, ...]


@dataclass(frozen=True)
class _Block:
    """Branches side by side on the same input, and a pool beside them; all joined."""

    name: str
    branches: tuple[Branch, ...]
    pool: str  # "average", "max", or "halve": maximum with stride 2
    pool_channels: int  # of the convolution after the pool; "halve" has none


def _chain(*convolutions: Convolution) -> Branch:
    return tuple((convolution,) for convolution in convolutions)


def _block_a(name: str, pool_channels: int) -> _Block:
    branches = (
        _chain(("branch1x1", 64, 1, 1)),
        _chain(("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 5)),
        _chain(
            ("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)
        ),
    )
    return _Block(name, branches, "average", pool_channels)


def _block_b(name: str) -> _Block:
    branches = (
        _chain(("branch3x3", 384, 3, 3)),
        _chain(
            ("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)
        ),
    )
    return _Block(name, branches, "halve", 0)


def _block_c(name: str, inner: int) -> _Block:
    branches = (
        _chain(("branch1x1", 192, 1, 1)),
        _chain(
            ("branch7x7_1", inner, 1, 1),
            ("branch7x7_2", inner, 1, 7),
            ("branch7x7_3", 192, 7, 1),
        ),
        _chain(
            ("branch7x7dbl_1", inner, 1, 1),
            ("branch7x7dbl_2", inner, 7, 1),
            ("branch7x7dbl_3", inner, 1, 7),
            ("branch7x7dbl_4", inner, 7, 1),
            ("branch7x7dbl_5", 192, 1, 7),
        ),
    )
    return _Block(name, branches, "average", 192)


def _block_d(name: str) -> _Block:
    branches = (
        _chain(("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 3)),
        _chain(
            ("branch7x7x3_1", 192, 1, 1),
            ("branch7x7x3_2", 192, 1, 7),
            ("branch7x7x3_3", 192, 7, 1),
            ("branch7x7x3_4", 192, 3, 3),
        ),
    )
    return _Block(name, branches, "halve", 0)


def _block_e(name: str, pool: str) -> _Block:
    branches: tuple[Branch, ...] = (
        _chain(("branch1x1", 320, 1, 1)),
        (
            (("branch3x3_1", 384, 1, 1),),
            (("branch3x3_2a", 384, 1, 3), ("branch3x3_2b", 384, 3, 1)),
        ),
        (
            (("branch3x3dbl_1", 448, 1, 1),),
            (("branch3x3dbl_2", 384, 3, 3),),
            (("branch3x3dbl_3a", 384, 1, 3), ("branch3x3dbl_3b", 384, 3, 1)),
        ),
    )
    return _Block(name, branches, pool, 192)


STEM: tuple[tuple[Convolution, bool], ...] = (  # and whether a pool follows
    (("Conv2d_1a_3x3", 32, 3, 3), False),
    (("Conv2d_2a_3x3", 32, 3, 3), False),
    (("Conv2d_2b_3x3", 64, 3, 3), True),
    (("Conv2d_3b_1x1", 80, 1, 1), False),
    (("Conv2d_4a_3x3", 192, 3, 3), True),
)
BLOCKS = (
    _block_a("Mixed_5b", 32),
    _block_a("Mixed_5c", 64),
    _block_a("Mixed_5d", 64),
    _block_b("Mixed_6a"),
    _block_c("Mixed_6b", 128),
    _block_c("Mixed_6c", 160),
    _block_c("Mixed_6d", 160),
    _block_c("Mixed_6e", 192),
    _block_d("Mixed_7a"),
    _block_e("Mixed_7b", "average"),
    _block_e("Mixed_7c", "max"),
)
STRIDED = {  # by two; they do not pad either
    "Conv2d_1a_3x3",
    "Mixed_6a.branch3x3",
    "Mixed_6a.branch3x3dbl_3",
    "Mixed_7a.branch3x3_2",
    "Mixed_7a.branch7x7x3_4",
}
UNPADDED = STRIDED | {"Conv2d_2a_3x3", "Conv2d_4a_3x3"}


def inception_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor the features need, and the last layer, by which the variant is known."""
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (CLASSES, FEATURES)}
    for name, shape in _convolutions():
        shapes |= normalised_convolution_shapes(f"{name}.conv", f"{name}.bn", shape)
    return shapes


def load_inception(path: Path) -> Weights:
    """Raises EvaluationError where the file does not hold this network."""
    return read_weights(path, inception_shapes(), "the FID's Inception v3, pt_inception-2015-12-05")


@torch.inference_mode()
def inception_features(weights: Weights, image_NCHW: Tensor) -> Tensor:
    """Means of the last feature maps, [N, 2048], of pictures in 0 … 1 of any size."""
    x = resize_as_tensorflow(resize_as_tensorflow(image_NCHW, axis=2), axis=3)
    x = ((x * 255 - 128) / 128).contiguous(memory_format=torch.channels_last)
    for convolution, pooled in STEM:
        x = _convolve(x, weights, "", convolution)
        x = F.max_pool2d(x, 3, 2) if pooled else x
    for block in BLOCKS:
        parts = [_branch(x, weights, block.name, branch) for branch in block.branches]
        x = torch.cat([*parts, _pool(x, weights, block)], dim=1)
    return x.mean(dim=(2, 3))


def resize_as_tensorflow(x: Tensor, axis: int) -> Tensor:
    """Bilinear to 299 px along an axis, from corners of pixels, not centres, as TensorFlow 1."""
    size = x.shape[axis]
    position = torch.arange(SIDE) * (size / SIDE)
    low = position.floor().long()
    high = (low + 1).clamp(max=size - 1)
    shape = [SIDE if axis == i else 1 for i in range(x.ndim)]
    between = (position - low).reshape(shape)
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), between)


def _branch(x: Tensor, weights: Weights, block: str, branch: Branch) -> Tensor:
    for step in branch:
        x = torch.cat([_convolve(x, weights, f"{block}.", conv) for conv in step], dim=1)
    return x


def _pool(x: Tensor, weights: Weights, block: _Block) -> Tensor:
    if block.pool == "halve":
        return F.max_pool2d(x, 3, 2)
    if block.pool == "max":
        x = F.max_pool2d(x, 3, 1, padding=1)
    else:
        x = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
    return _convolve(x, weights, f"{block.name}.", ("branch_pool", block.pool_channels, 1, 1))


def _convolve(x: Tensor, weights: Weights, prefix: str, convolution: Convolution) -> Tensor:
    name, _, height, width = convolution
    name = prefix + name
    x = normalised_convolution(
        x,
        weights,
        f"{name}.conv",
        f"{name}.bn",
        stride=2 if name in STRIDED else 1,
        padding=(0, 0) if name in UNPADDED else (height // 2, width // 2),
    )
    return F.relu(x)


def _convolutions() -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Name and shape [out, in, H, W] of each."""
    channels = 3
    for (name, out, height, width), _ in STEM:
        yield name, (out, channels, height, width)
        channels = out
    for block in BLOCKS:
        joined = channels if block.pool == "halve" else block.pool_channels
        if block.pool_channels:
            yield f"{block.name}.branch_pool", (block.pool_channels, channels, 1, 1)
        for branch in block.branches:
            source = channels
            for step in branch:
                for name, out, height, width in step:
                    yield f"{block.name}.{name}", (out, source, height, width)
                source = sum(out for _, out, _, _ in step)
            joined += source
        channels = joined
