"""akanimax/pro_gan_pytorch 3.x. Unconditional.

A file is `{generator, shadow_generator: {conf, state_dict}, …}`. The first layer is a transposed
convolution [in, out, 4, 4] of a 1×1 picture, that is a dense one. Weights are multiplied by
√(2/fan_in), biases are not. Alpha is not in the file: it is taken as fully grown.
"""

import math
from collections.abc import Mapping
from typing import Any

from training.errors import ImportFileError
from training.importers.foreign import Imported, Layer, assemble, tensor

PIXEL_NORMS = ("latent", "base", "blocks")
"""Where its newest version has them; earlier ones differ."""


def read(data: Mapping[str, Any], pixel_norms: tuple[str, ...] | None) -> Imported:
    """Its averaged ("shadow") generator, or the last one where there is no average."""
    saved = data.get("shadow_generator") or data.get("generator")
    if not isinstance(saved, Mapping) or not isinstance(saved.get("state_dict"), Mapping):
        raise ImportFileError(
            "the file's generator has no conf and state_dict: it is of a version before 3.0, "
            "or damaged"
        )
    conf, state = saved.get("conf") or {}, saved["state_dict"]
    colours = conf.get("num_channels", 3)
    if colours != 3:
        raise ImportFileError(f"the file's pictures have {colours} colours: ours have 3")
    equalized = bool(conf.get("use_eql", True))
    stages = 1
    while f"layers.{stages}.conv_1.weight" in state:
        stages += 1
    generator = assemble(
        dense=_first(state, equalized),
        conv=_layer(state, "layers.0.conv_2", equalized),
        blocks=[
            (
                _layer(state, f"layers.{i}.conv_1", equalized),
                _layer(state, f"layers.{i}.conv_2", equalized),
            )
            for i in range(1, stages)
        ],
        to_rgb=[_layer(state, f"rgb_converters.{i}", equalized) for i in range(stages)],
        label_dim=0,
        pixel_norms=PIXEL_NORMS if pixel_norms is None else pixel_norms,
    )
    notes = [
        "its pixel norms are taken to stand where the newest version has them; if pictures look "
        "wrong, name others with --pixel-norms"
    ]
    if not data.get("shadow_generator"):
        notes.append("the file holds no averaged generator, only the last one")
    return Imported("akanimax/pro_gan_pytorch", generator, (), tuple(notes))


def _first(state: Mapping[str, Any], equalized: bool) -> Layer:
    weight_IO44 = tensor(state, "layers.0.conv_1.weight", 4).double()
    if weight_IO44.shape[2:] != (4, 4):
        raise ImportFileError("layers.0.conv_1 is no 4×4 kernel: the file is damaged")
    weight = weight_IO44.reshape(weight_IO44.shape[0], -1).T
    factor = math.sqrt(2 / max(weight.shape[1], 1)) if equalized else 1.0
    bias = tensor(state, "layers.0.conv_1.bias", 1).double().repeat_interleave(16)
    return Layer(weight * factor, bias)


def _layer(state: Mapping[str, Any], name: str, equalized: bool) -> Layer:
    weight = tensor(state, f"{name}.weight", 4).double()
    factor = math.sqrt(2 / max(math.prod(weight.shape[1:]), 1)) if equalized else 1.0
    return Layer(weight * factor, tensor(state, f"{name}.bias", 1).double())
