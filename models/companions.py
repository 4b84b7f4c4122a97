"""The discriminators that stood beside the critic, as bytes and back: tensors by name.

A checkpoint may carry them, so that training goes on from it with all that it had, less the
optimisers' moments. What each of them is only training knows.
"""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

Weights = Mapping[str, Mapping[str, Tensor]]
"""Name of the discriminator → name of the tensor → tensor."""


def companions_bytes(companions: Weights, dtype: torch.dtype) -> bytes:
    """A safetensors file of them all; a tensor's key is `discriminator.tensor`."""
    return save(
        {
            f"{companion}.{name}": tensor.detach().cpu().to(dtype).contiguous()
            for companion, tensors in companions.items()
            for name, tensor in tensors.items()
        }
    )


def read_companions(path: str) -> dict[str, dict[str, Tensor]]:
    """The inverse, float32.

    Raises ValueError where the file is none of these or holds numbers that are not finite, OSError
    where it cannot be read.
    """
    companions: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                companion, _, name = key.partition(".")
                tensor = file.get_tensor(key).float()
                if not tensor.isfinite().all():
                    raise ValueError(f"{key} holds NaN or infinity")
                companions.setdefault(companion, {})[name] = tensor
    except SafetensorError as error:
        raise ValueError(f"no safetensors file ({error})") from error
    return companions
