"""facebookresearch/pytorch_GAN_zoo's progressive GAN.

A file is `{config, netG, netD, avgG}`. Every layer's output is multiplied by √(2/fan_in), its bias
too. Labels are one-hots in the order of `attribKeysOrder`, after the latent.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.errors import ImportFileError
from training.importers.foreign import Imported, Layer, assemble, attributes_of, tensor

TANH_LOSSES = ("MSE", "DCGAN")


def read(data: Mapping[str, Any], pixel_norms: tuple[str, ...] | None) -> Imported:
    """Its averaged generator, or the last one where there is no average."""
    config = getattr(data.get("config"), "__dict__", {})
    if config.get("lossMode") in TANH_LOSSES:
        raise ImportFileError(
            f"the file was trained with the loss {config['lossMode']}, whose pictures pass a tanh "
            "that our generator has not: import one trained with WGANGP or Logistic"
        )
    alpha = config.get("alpha", 0)
    if isinstance(alpha, (int, float)) and alpha > 0:
        raise ImportFileError(
            f"the file's last resolution is still fading in (alpha {alpha:g}): "
            "train it on until that is done"
        )
    weights = data.get("avgG") or data["netG"]
    if not isinstance(weights, Mapping):
        raise ImportFileError("the file's netG is no set of tensors: it is damaged")
    # Older files have no `.module`, those of several GPUs begin with it.
    state = {_plain(str(name)): value for name, value in weights.items()}
    scales = 0
    while f"scaleLayers.{scales}.0.weight" in state:
        scales += 1
    attributes = attributes_of(_values(config.get("attribKeysOrder")))
    generator = assemble(
        dense=_layer(state, "formatLayer", 2),
        conv=_layer(state, "groupScale0.0"),
        blocks=[
            (_layer(state, f"scaleLayers.{i}.0"), _layer(state, f"scaleLayers.{i}.1"))
            for i in range(scales)
        ],
        to_rgb=[_layer(state, f"toRGBLayers.{i}") for i in range(scales + 1)],
        label_dim=sum(len(attribute.values) for attribute in attributes),
        pixel_norms=pixel_norms,
    )
    notes = () if data.get("avgG") else ("the file holds no averaged generator, only the last one",)
    return Imported("facebookresearch/pytorch_GAN_zoo", generator, attributes, notes)


def _plain(name: str) -> str:
    return name.removeprefix("module.").replace(".module.", ".")


def _layer(state: Mapping[str, Any], name: str, dimensions: int = 4) -> Layer:
    weight = tensor(state, f"{name}.weight", dimensions)
    factor = math.sqrt(2 / max(math.prod(weight.shape[1:]), 1))
    return Layer(weight.double() * factor, tensor(state, f"{name}.bias", 1).double() * factor)


def _values(order: Any) -> dict[str, Sequence[str]]:
    """`{name: {order: 0, values: […]}}` → names in their order, with their values."""
    if not order:
        return {}
    try:
        names = sorted(order, key=lambda name: int(order[name]["order"]))
        return {str(name): [str(value) for value in order[name]["values"]] for name in names}
    except (TypeError, KeyError, ValueError) as error:
        raise ImportFileError(
            "the file's attribKeysOrder does not name attributes with an order and values: it is "
            "damaged, or of a version we do not know"
        ) from error
