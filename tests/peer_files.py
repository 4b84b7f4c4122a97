"""What three other projects compute, and how they write it down, from their published layout.

Each peer is a function of its file's own tensors, in plain torch: nothing of ours is used.
"""

import collections
import itertools
import math
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def norm(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


def leak(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def random(*shape: int) -> Tensor:
    return torch.randn(shape)


# --- pytorch_GAN_zoo: the factor multiplies what a layer puts out, its bias too.


def gan_zoo_state(widths: list[int], features: int, infix: str = ".module") -> State:
    state = {
        f"formatLayer{infix}.weight": random(16 * widths[0], features),
        f"formatLayer{infix}.bias": random(16 * widths[0]),
    }
    shapes = {"groupScale0.0": (widths[0], widths[0], 3, 3), "toRGBLayers.0": (3, widths[0], 1, 1)}
    for i, (below, above) in enumerate(itertools.pairwise(widths)):
        shapes[f"scaleLayers.{i}.0"] = (above, below, 3, 3)
        shapes[f"scaleLayers.{i}.1"] = (above, above, 3, 3)
        shapes[f"toRGBLayers.{i + 1}"] = (3, above, 1, 1)
    for name, shape in shapes.items():
        state[f"{name}{infix}.weight"] = random(*shape)
        state[f"{name}{infix}.bias"] = random(shape[0])
    return state


def gan_zoo_forward(state: State, code: Tensor, infix: str = ".module") -> Tensor:
    def convolve(x: Tensor, name: str) -> Tensor:
        weight, bias = state[f"{name}{infix}.weight"], state[f"{name}{infix}.bias"]
        y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return y * math.sqrt(2 / weight[0].numel())

    weight = state[f"formatLayer{infix}.weight"]
    x = F.linear(norm(code), weight, state[f"formatLayer{infix}.bias"])
    x = norm(leak(x * math.sqrt(2 / weight.shape[1])).view(len(code), -1, 4, 4))
    x = norm(leak(convolve(x, "groupScale0.0")))
    scale = 0
    while f"scaleLayers.{scale}.0{infix}.weight" in state:
        x = norm(leak(convolve(double(x), f"scaleLayers.{scale}.0")))
        x = norm(leak(convolve(x, f"scaleLayers.{scale}.1")))
        scale += 1
    return convolve(x, f"toRGBLayers.{scale}")


def write_gan_zoo(path: Path, state: State, **settings: Any) -> Path:
    """With settings of a class that only exists in that project, while it is written."""
    with _module("models.utils.config", "BaseConfig") as settings_class:
        config = settings_class()
        config.__dict__.update({"alpha": 0, "lossMode": "WGANGP", **settings})
        other = {name: torch.zeros_like(value) for name, value in state.items()}
        torch.save({"config": config, "netG": other, "netD": {}, "avgG": state}, path)
    return path


# --- pro_gan_pytorch: the factor multiplies the weights; a transposed convolution comes first.


def pro_gan_state(widths: list[int], latent: int) -> State:
    shapes = {
        "layers.0.conv_1": (latent, widths[0], 4, 4),
        "layers.0.conv_2": (widths[0], widths[0], 3, 3),
        "rgb_converters.0": (3, widths[0], 1, 1),
    }
    for i, (below, above) in enumerate(itertools.pairwise(widths), start=1):
        shapes[f"layers.{i}.conv_1"] = (above, below, 3, 3)
        shapes[f"layers.{i}.conv_2"] = (above, above, 3, 3)
        shapes[f"rgb_converters.{i}"] = (3, above, 1, 1)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = random(*shape)
        state[f"{name}.bias"] = random(shape[1 if name == "layers.0.conv_1" else 0])
    return state


def pro_gan_forward(state: State, z: Tensor, *, norms: bool = True) -> Tensor:
    def convolve(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        weight = weight * math.sqrt(2 / weight[0].numel())
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def maybe(x: Tensor) -> Tensor:
        return norm(x) if norms else x

    first = state["layers.0.conv_1.weight"]
    x = maybe(z)[:, :, None, None]
    x = F.conv_transpose2d(x, first * math.sqrt(2 / len(first)), state["layers.0.conv_1.bias"])
    x = norm(leak(convolve(leak(x), "layers.0.conv_2")))
    stage = 1
    while f"layers.{stage}.conv_1.weight" in state:
        x = maybe(leak(convolve(double(x), f"layers.{stage}.conv_1")))
        x = maybe(leak(convolve(x, f"layers.{stage}.conv_2")))
        stage += 1
    return convolve(x, f"rgb_converters.{stage - 1}")


def write_pro_gan(path: Path, state: State, **conf: Any) -> Path:
    shadow = {"conf": {"depth": 4, "num_channels": 3, "use_eql": True, **conf}, "state_dict": state}
    torch.save({"shadow_generator": shadow, "generator": shadow}, path)
    return path


# --- the official code: arrays, height × width × in × out.


def official_variables(widths: list[int], features: int, *, fused: bool = True) -> dict[str, Any]:
    def array(*shape: int) -> Any:
        return np.random.default_rng(len(shape) * sum(shape)).normal(size=shape).astype(np.float32)

    top = len(widths) - 1
    variables: dict[str, Any] = {
        "lod": np.float32(0),
        "4x4/Dense/weight": array(features, 16 * widths[0]),
        "4x4/Dense/bias": array(widths[0]),
        "4x4/Conv/weight": array(3, 3, widths[0], widths[0]),
        "4x4/Conv/bias": array(widths[0]),
    }
    for i, (below, above) in enumerate(itertools.pairwise(widths), start=1):
        side = 4 * 2**i
        name = f"{side}x{side}/Conv0_up" if fused else f"{side}x{side}/Conv0"
        variables[f"{name}/weight"] = array(3, 3, *((above, below) if fused else (below, above)))
        variables[f"{name}/bias"] = array(above)
        variables[f"{side}x{side}/Conv1/weight"] = array(3, 3, above, above)
        variables[f"{side}x{side}/Conv1/bias"] = array(above)
    for i, width in enumerate(widths):
        variables[f"ToRGB_lod{top - i}/weight"] = array(1, 1, width, 3)
        variables[f"ToRGB_lod{top - i}/bias"] = array(3)
    return variables


def official_forward(variables: dict[str, Any], code: Tensor) -> Tensor:
    """In float64, by TensorFlow's own definitions: a fused ×2 is a transposed convolution with
    the kernel summed over its four shifts."""

    def get(name: str) -> Tensor:
        return torch.from_numpy(np.asarray(variables[name], dtype=np.float64))

    def convolve(x: Tensor, name: str, gain: float = math.sqrt(2)) -> Tensor:
        kernel = get(f"{name}/weight")
        height, width, incoming, _ = kernel.shape
        kernel = kernel * gain / math.sqrt(height * width * incoming)
        return F.conv2d(x, kernel.permute(3, 2, 0, 1), get(f"{name}/bias"), padding=height // 2)

    def fused(x: Tensor, name: str) -> Tensor:
        kernel = get(f"{name}/weight")  # height × width × out × in
        kernel = kernel * math.sqrt(2) / math.sqrt(9 * kernel.shape[3])
        wide = F.pad(kernel.permute(3, 2, 0, 1), (1, 1, 1, 1))
        wide = wide[:, :, 1:, 1:] + wide[:, :, :-1, 1:] + wide[:, :, 1:, :-1] + wide[:, :, :-1, :-1]
        y = F.conv_transpose2d(x, wide, stride=2, padding=1)
        return y + get(f"{name}/bias").reshape(1, -1, 1, 1)

    dense = get("4x4/Dense/weight")
    x = norm(code.double()) @ (dense * math.sqrt(2) / 4 / math.sqrt(len(dense)))
    x = x.reshape(len(code), -1, 4, 4) + get("4x4/Dense/bias").reshape(1, -1, 1, 1)
    x = norm(leak(convolve(norm(leak(x)), "4x4/Conv")))
    side = 8
    while f"{side}x{side}/Conv1/weight" in variables:
        name = f"{side}x{side}/Conv0"
        x = (
            fused(x, f"{name}_up")
            if f"{name}_up/weight" in variables
            else convolve(double(x), name)
        )
        x = norm(leak(convolve(norm(leak(x)), f"{side}x{side}/Conv1")))
        side *= 2
    return convolve(x, "ToRGB_lod0", gain=1.0)


def write_official(path: Path, variables: dict[str, Any], **kwargs: Any) -> Path:
    """(G, D, Gs) of a class that only exists in that project, while it is written."""
    with _module("tfutil", "Network") as network_class:

        def network(named: dict[str, Any]) -> Any:
            made = network_class()
            made.__dict__.update(
                version=2,
                name="Gs",
                static_kwargs=kwargs,
                build_module_src="raise SystemExit('run')",
                build_func_name="G_paper",
                variables=list(named.items()),
            )
            return made

        path.write_bytes(pickle.dumps((network({}), network({}), network(variables)), protocol=4))
    return path


class _module:  # noqa: N801  reads as the statement it is used in
    """A class of that module, for as long as something of it is written."""

    def __init__(self, module: str, name: str) -> None:
        self.name, self.parts = name, module.split(".")
        self.kind = type(name, (), {"__module__": module, "__getstate__": _state_of})
        self.before: dict[str, Any] = collections.OrderedDict()

    def __enter__(self) -> Any:
        for i in range(len(self.parts)):
            full = ".".join(self.parts[: i + 1])
            self.before[full] = sys.modules.get(full)
            sys.modules[full] = types.ModuleType(full)
        setattr(sys.modules[full], self.name, self.kind)
        return self.kind

    def __exit__(self, *_: object) -> None:
        for full, module in self.before.items():
            del sys.modules[full]
            if module is not None:
                sys.modules[full] = module


def _state_of(self: Any) -> dict[str, Any]:
    return dict(self.__dict__)
