"""The official TensorFlow code's pickles: (G, D, Gs), each a `tfutil.Network`.

Only `variables` and `static_kwargs` of Gs, the averaged generator, are read; the source code that
the file carries is never looked at. Kernels are height × width × in × out. Those of `Conv0_up`, a
transposed convolution, are height × width × out × in and turned by half.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.errors import ImportFileError
from training.importers.foreign import Imported, Layer, assemble, attributes_of, tensor
from training.importers.unpickling import StoredArray

NEEDED = {"use_leakyrelu": True, "fmap_decay": 1.0}
"""Settings that our generator has no other value of."""


def read(data: Sequence[Any], pixel_norms: tuple[str, ...] | None) -> Imported:
    """Its averaged generator, Gs."""
    network = getattr(data[2], "state", None)
    if not isinstance(network, Mapping) or not isinstance(network.get("variables"), list):
        raise ImportFileError("the file's third network has no variables: it is no official pickle")
    settings = network.get("static_kwargs")
    settings = settings if isinstance(settings, Mapping) else {}
    for name, value in NEEDED.items():
        if settings.get(name, value) != value:
            raise ImportFileError(
                f"the file was trained with {name}={settings[name]}, which our generator has not"
            )
    state = _tensors(network["variables"])
    lod = float(state["lod"]) if "lod" in state else 0.0
    if lod:
        raise ImportFileError(
            f"the file's network has not reached its full resolution (lod {lod:g}): "
            "take a later one"
        )
    equalized = bool(settings.get("use_wscale", True))
    sides = [8]
    while f"{sides[-1]}x{sides[-1]}/Conv1/weight" in state:
        sides.append(sides[-1] * 2)
    sides.pop()
    count = settings.get("label_size") or 0
    features = tensor(state, "4x4/Dense/weight", 2).shape[0]
    if type(count) is not int or not 0 <= count < features:
        raise ImportFileError(f"the file's label_size is none that {features} features can hold")
    labels = {"label": [str(i) for i in range(count)]} if count else {}
    attributes = attributes_of(labels)
    generator = assemble(
        dense=_dense(state, equalized),
        conv=_layer(state, "4x4/Conv", equalized),
        blocks=[
            (_first(state, s, equalized), _layer(state, f"{s}x{s}/Conv1", equalized)) for s in sides
        ],
        to_rgb=[
            _layer(state, f"ToRGB_lod{lod}", equalized, gain=1.0)
            for lod in range(len(sides), -1, -1)
        ],
        label_dim=count if labels else 0,
        pixel_norms=_norms(settings) if pixel_norms is None else pixel_norms,
    )
    notes = ("the file does not name its labels: they are numbered",) if labels else ()
    return Imported("tkarras/progressive_growing_of_gans", generator, attributes, notes)


def _norms(settings: Mapping[str, Any]) -> tuple[str, ...]:
    latent = ("latent",) if settings.get("normalize_latents", True) else ()
    return latent + (("dense", "base", "blocks") if settings.get("use_pixelnorm", True) else ())


def _tensors(variables: Sequence[Any]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for pair in variables:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise ImportFileError("the file's variables are no pairs of name and array: damaged")
        name, array = pair
        value = array.value if isinstance(array, StoredArray) else array
        if isinstance(value, np.ndarray | float):
            state[str(name)] = torch.from_numpy(np.array(value, dtype=np.float32))
    return state


def _factor(fan_in: int, gain: float, equalized: bool) -> float:
    return gain / math.sqrt(max(fan_in, 1)) if equalized else 1.0


def _dense(state: Mapping[str, Tensor], equalized: bool) -> Layer:
    weight = tensor(state, "4x4/Dense/weight", 2).double().T
    bias = tensor(state, "4x4/Dense/bias", 1).double().repeat_interleave(16)
    return Layer(weight * _factor(weight.shape[1], math.sqrt(2) / 4, equalized), bias)


def _layer(
    state: Mapping[str, Tensor], name: str, equalized: bool, gain: float = math.sqrt(2)
) -> Layer:
    weight = tensor(state, f"{name}/weight", 4).double().permute(3, 2, 0, 1)
    factor = _factor(math.prod(weight.shape[1:]), gain, equalized)
    return Layer(weight * factor, tensor(state, f"{name}/bias", 1).double())


def _first(state: Mapping[str, Tensor], side: int, equalized: bool) -> Layer:
    """The convolution after the ×2: as one transposed one, or (fused_scale off) as it is."""
    name = f"{side}x{side}/Conv0_up"
    if f"{name}/weight" not in state:
        return _layer(state, f"{side}x{side}/Conv0", equalized)
    weight = tensor(state, f"{name}/weight", 4).double().flip(0, 1).permute(2, 3, 0, 1)
    factor = _factor(math.prod(weight.shape[1:]), math.sqrt(2), equalized)
    return Layer(weight * factor, tensor(state, f"{name}/bias", 1).double())
