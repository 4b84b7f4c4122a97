"""Which processor this is, as far as the last bits of a picture depend on it.

Knows nothing about engines, which put it into their names: replicas on other processors make other
bytes, and must not give out each other's under one name.
"""

from functools import cache

import torch


@cache
def instruction_set() -> str:
    """What torch and OpenVINO choose their kernels by, e.g. `AVX512 bf16 amx`."""
    found = {
        "bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
    }
    return " ".join(
        [torch.backends.cpu.get_cpu_capability(), *(name for name, there in found.items() if there)]
    )
