"""A trained discriminator as bytes and back: what a checkpoint may carry beside its generator.

With it, training can go on from an exported checkpoint as from a snapshot, less the optimisers'
moments. Knows nothing about folders.
"""

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.discriminator import Discriminator
from models.generator import GeneratorConfig

CONDITIONING = "conditioning"
"""The only key of the file's header: which of `discriminator.CONDITIONINGS` it was made with."""


def critic_bytes(discriminator: Discriminator, dtype: torch.dtype) -> bytes:
    """A safetensors file of its weights; what it is conditioned by stands in the header."""
    weights = discriminator.state_dict()
    state = {k: v.detach().cpu().to(dtype).contiguous() for k, v in weights.items()}
    return save(state, metadata={CONDITIONING: discriminator.conditioning})


def read_critic(path: str, config: GeneratorConfig) -> Discriminator:
    """The discriminator of the generator that has `config`, float32.

    Raises ValueError where the file holds another network or numbers that are not finite, OSError
    where it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            conditioning = (file.metadata() or {}).get(CONDITIONING, "")
            state: dict[str, Tensor] = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"no safetensors file ({error})") from error
    with torch.device("meta"):  # what the config asks for is not made before the file has it
        expected = Discriminator(config, conditioning).state_dict()
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in expected.items()}:
        raise ValueError("another network's weights")
    critic = Discriminator(config, conditioning)
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    critic.load_state_dict(state)
    return critic
