"""A file of somebody's weights → tensors whose names and shapes are those a network needs.

Nothing in the file is run: PyTorch's own restricted reading, or safetensors. Convolution with batch
normalisation, of which the extractors consist, stands here too. It knows no particular network.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from training.errors import EvaluationError

Weights = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

EPSILON = 1e-3  # of batch normalisation, in TensorFlow's models
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def read_weights(path: Path, shapes: Shapes, network: str) -> dict[str, Tensor]:
    """The tensors named in `shapes`, as float32; others in the file are passed over.

    Raises EvaluationError where the file cannot be read safely or is not that network's.
    """
    remedy = f"give the file of {network}, as .pth (a state dict) or .safetensors."
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise EvaluationError(
            f"The weights {path} cannot be read ({error.strerror or error}): {remedy}"
        ) from error
    except Exception as error:  # a damaged or foreign file makes the readers raise anything
        raise EvaluationError(
            f"{path} is no file of weights that can be read without running code in it: {remedy}"
        ) from error
    for name, shape in shapes.items():
        tensor = found.get(name) if isinstance(found, dict) else None
        if not isinstance(tensor, Tensor):
            raise EvaluationError(f"{path} has no tensor {name}: {remedy}")
        if tuple(tensor.shape) != shape:
            raise EvaluationError(
                f"In {path}, {name} has shape {tuple(tensor.shape)} instead of {shape}: {remedy}"
            )
        if not torch.isfinite(tensor).all():
            raise EvaluationError(f"In {path}, {name} is not finite: {remedy}")
    return {name: found[name].float() for name in shapes}


def digest(path: Path) -> str:
    """First 12 digits of a file's SHA-256: which weights a figure was measured with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def normalised_convolution_shapes(
    convolution: str, normalisation: str, shape: tuple[int, int, int, int]
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what `normalised_convolution` reads; `shape` is [out, in, H, W]."""
    return {
        f"{convolution}.weight": shape,
        **{f"{normalisation}.{name}": shape[:1] for name in STATISTICS},
    }


def normalised_convolution(
    x_NCHW: Tensor,
    weights: Weights,
    convolution: str,
    normalisation: str,
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
) -> Tensor:
    """Convolution without bias, then batch normalisation by the stored statistics."""
    kernel = weights[f"{convolution}.weight"]
    x_NCHW = F.conv2d(x_NCHW, kernel, stride=stride, padding=padding, groups=groups)
    gain, bias, mean, variance = (weights[f"{normalisation}.{name}"] for name in STATISTICS)
    return F.batch_norm(x_NCHW, mean, variance, gain, bias, eps=EPSILON)
