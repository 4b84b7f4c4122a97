"""Weights of a network → weights of a wider one that makes the same of everything.

Each map is there several times over, and whoever reads the maps takes a part of what it took from
each copy. The parts differ by random amounts that cancel out: so the copies get different gradients
and become different maps, and weights keep the unit variance that equalized layers begin with.
Source: Chen et al., "Net2Net" (arXiv 1511.05641), section 3.2. Knows networks only by the names and
shapes of their tensors.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

WIDER = ("blocks.", "to_rgb.", "from_rgb.")
"""Beginnings of the names of what may be wider: all but the 4×4 layers, where the minibatch
deviation and labels join the maps."""


def widened(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` in the shapes of `wanted` where those are whole multiples; the rest as it is.

    The same arguments give the same weights.
    """
    random = torch.Generator().manual_seed(0)
    return {
        name: _wider(tensor, wanted[name].shape, random)
        if name in wanted and name.startswith(WIDER)
        else tensor
        for name, tensor in weights.items()
    }


def _wider(tensor: Tensor, shape: torch.Size, random: torch.Generator) -> Tensor:
    """A bias [out] or a weight [out, in, …] with its maps repeated; as it is where it cannot be."""
    if tensor.shape == shape or tensor.shape[2:] != shape[2:]:
        return tensor
    if any(new % old for new, old in zip(shape, tensor.shape, strict=True)):
        return tensor
    copies_out = shape[0] // tensor.shape[0]
    tensor = tensor.float().repeat(copies_out, *[1] * (tensor.ndim - 1))
    if tensor.ndim == 1:
        return tensor
    copies_in = shape[1] // tensor.shape[1]
    # The layer divides by √fan_in at run time, and that has grown: a share of 1/n is 1/√n here.
    parts = (tensor / copies_in**0.5).unsqueeze(1)
    noise = torch.randn(len(tensor), copies_in, *tensor.shape[1:], generator=random)
    noise = (noise - noise.mean(dim=1, keepdim=True)) * tensor.square().mean().sqrt()
    return (parts + noise).flatten(1, 2)
