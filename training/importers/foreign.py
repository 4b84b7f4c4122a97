"""A peer's layers, as they compute, → our generator. Knows nothing about files or their formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import Attribute, Generator, GeneratorConfig
from models.generator import PIXEL_NORMS
from models.layers import _Equalized
from training.errors import ImportFileError


@dataclass(frozen=True)
class Imported:
    """What a file held."""

    project: str
    generator: Generator
    attributes: tuple[Attribute, ...]
    notes: tuple[str, ...] = ()
    """What people should know, one sentence each."""


@dataclass(frozen=True)
class Layer:
    """Weights as the peer's arithmetic uses them: every run-time factor multiplied in."""

    weight: Tensor
    """[out, in, kernel, kernel], or [out, in] of the dense layer, unit c·16 + y·4 + x."""
    bias: Tensor
    """[out]."""


def assemble(
    *,
    dense: Layer,
    conv: Layer,
    blocks: Sequence[tuple[Layer, Layer]],
    to_rgb: Sequence[Layer],
    label_dim: int,
    pixel_norms: tuple[str, ...] | None,
) -> Generator:
    """Our generator that computes the same. Raises ImportFileError where none can."""
    if not blocks:
        raise ImportFileError("the file's network has only reached 4 px: train it further first")
    channels = [conv.weight.shape[0], *(second.weight.shape[0] for _, second in blocks)]
    base, most = _widths(channels)
    try:
        config = GeneratorConfig(
            resolution=4 * 2 ** len(blocks),
            latent_dim=dense.weight.shape[1] - label_dim,
            label_dim=label_dim,
            fmap_base=base,
            fmap_max=most,
            pixel_norms=PIXEL_NORMS if pixel_norms is None else pixel_norms,
        )
    except ValueError as error:
        raise ImportFileError(f"the file's network cannot be ours: {error}") from error
    generator = Generator(config).eval().requires_grad_(False)
    _fill("dense", generator.dense, dense)
    _fill("conv", generator.conv, conv)
    for i, (first, second) in enumerate(blocks):
        block: Any = generator.blocks[i]
        _fill(f"blocks.{i}.conv0", block.conv0, first)
        _fill(f"blocks.{i}.conv1", block.conv1, second)
    if len(to_rgb) != len(generator.to_rgb):
        raise ImportFileError(
            f"the file has {len(to_rgb)} colour layers for {len(generator.to_rgb)} resolutions: "
            "it is damaged or of a version we do not know"
        )
    for i, layer in enumerate(to_rgb):
        ours: Any = generator.to_rgb[i]
        _fill(f"to_rgb.{i}", ours, layer)
    return generator


def attributes_of(values: Mapping[str, Sequence[str]]) -> tuple[Attribute, ...]:
    """Attributes whose values' shares nobody knows: all alike."""
    try:
        return tuple(
            Attribute(name, tuple(known), (1 / len(known),) * len(known))
            for name, known in values.items()
        )
    except (ValueError, ZeroDivisionError) as error:
        raise ImportFileError(f"the file's labels cannot be used: {error}") from error


def tensor(state: Mapping[str, Any], name: str, dimensions: int) -> Tensor:
    """One of the file's tensors, as float32; raises ImportFileError where it is not what it must
    be."""
    found = state.get(name)
    if not isinstance(found, Tensor) or found.ndim != dimensions or not found.is_floating_point():
        raise ImportFileError(
            f"the file has no tensor {name!r} of {dimensions} dimensions: it is damaged, or of a "
            "version we do not know"
        )
    # A tensor may repeat what it holds, and so say that it is of any size.
    whole = found.layout is torch.strided and found.device.type == "cpu"
    if not whole or found.numel() * found.element_size() > found.untyped_storage().nbytes():
        raise ImportFileError(f"{name} holds less than it says: the file is damaged")
    if not torch.isfinite(found).all():
        raise ImportFileError(f"{name} holds NaN or infinity: the training had failed")
    return found.detach().float()


def _widths(channels: Sequence[int]) -> tuple[int, int]:
    """(fmap_base, fmap_max) that give these feature maps at 4, 8, … px."""
    most, last = max(channels), 4 * 2 ** (len(channels) - 1)
    # Where a width is below the most, it is the base's share; the last one is if any is.
    base = channels[-1] * last // 2
    if channels != [min(base * 2 // (4 * 2**i), most) for i in range(len(channels))]:
        raise ImportFileError(
            f"the file's network is {', '.join(map(str, channels))} feature maps wide: ours "
            "halves them from some resolution on, so it cannot compute the same"
        )
    return base, most


def _fill(name: str, ours: _Equalized, theirs: Layer) -> None:
    """Take over a layer, its factor divided out again."""
    if ours.weight.shape != theirs.weight.shape or ours.bias.shape != theirs.bias.shape:
        raise ImportFileError(
            f"{name} has shapes {tuple(theirs.weight.shape)} and {tuple(theirs.bias.shape)}, "
            f"ours {tuple(ours.weight.shape)} and {tuple(ours.bias.shape)}: the file is damaged"
        )
    ours.weight.copy_(theirs.weight.double() / ours.scale)
    ours.bias.copy_(theirs.bias)
