"""The folded generator → an OpenVINO model of one picture, layer by layer.

The same layers as in models/generator.py, at full resolution only; the tests compare the two to
the last bit of a pixel. Written out rather than traced: tracing takes longer than everything else
at a start, and leaves memory behind at each reload.
"""

from collections.abc import Iterable
from typing import cast

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import Tensor

from models import Generator
from models.generator import SynthesisBlock
from models.layers import LEAK, EqualizedConv2d, EqualizedLinear, UpsampleConv2d

EPSILON = 1e-8  # of the pixel norm
HALF_RANGE = np.array(127.5, np.float32)


def openvino_model(generator: Generator) -> ov.Model:
    """Inputs z_1Z and, where there are labels, y_1L in float32; outputs uint8 image_1HWC, and the
    sum of the picture before it became pixels: a float32 that is finite where all of it was.
    """
    config = generator.config
    z = op.parameter([1, config.latent_dim], np.float32)
    inputs, code = [z], z
    if config.label_dim:
        y = op.parameter([1, config.label_dim], np.float32)
        inputs.append(y)
        parts = (
            (z, y)
            if generator.embed is None
            else (_pixel_norm(z), _pixel_norm(_dense(y, generator.embed)))
        )
        code = op.concat(parts, 1)
    x = _activate(_dense(_pixel_norm(code, generator.norm_latent), generator.dense))
    x = _pixel_norm(op.reshape(x, [1, -1, 4, 4], special_zero=False), generator.norm_dense)
    x = _pixel_norm(_activate(_convolution(x, generator.conv)), generator.norm_base)
    for block in cast(Iterable[SynthesisBlock], generator.blocks):
        x = _pixel_norm(_activate(_upsampling(x, block.conv0)), block.norm)
        x = _pixel_norm(_activate(_convolution(x, block.conv1)), block.norm)
    image = _convolution(x, cast(EqualizedConv2d, generator.to_rgb[-1]))
    half = op.constant(HALF_RANGE)
    shade = op.round(image * half + half, "half_to_even")
    pixels = op.convert(op.clamp(shade, 0.0, 255.0), np.uint8)
    total = op.reduce_sum(image, np.array([0, 1, 2, 3]))
    return ov.Model([op.transpose(pixels, [0, 2, 3, 1]), total], inputs, "generator")


def _dense(x: ov.Node, layer: EqualizedLinear) -> ov.Node:
    weight, bias = _constant(layer.effective_weight()), _constant(layer.bias)
    return op.matmul(x, weight, transpose_a=False, transpose_b=True) + bias


def _convolution(x: ov.Node, layer: EqualizedConv2d) -> ov.Node:
    pad = [layer.weight.shape[-1] // 2] * 2
    weight = _constant(layer.effective_weight())
    return op.convolution(x, weight, [1, 1], pad, pad, [1, 1]) + _bias_of(layer)


def _upsampling(x: ov.Node, layer: UpsampleConv2d) -> ov.Node:
    weight = _constant(layer.kernel())
    return op.convolution_backprop_data(
        x, weight, strides=[2, 2], pads_begin=[1, 1], pads_end=[1, 1]
    ) + _bias_of(layer)


def _bias_of(layer: EqualizedConv2d) -> ov.Node:
    return _constant(layer.bias.reshape(1, -1, 1, 1))


def _activate(x: ov.Node) -> ov.Node:
    return op.prelu(x, np.array([LEAK], np.float32))


def _pixel_norm(x: ov.Node, present: bool = True) -> ov.Node:
    if not present:
        return x
    # One operation of OpenVINO's own: by a sum of squares, where the norm is by their mean.
    count = x.get_output_shape(0)[1]
    unit = op.normalize_l2(x, np.array([1]), count * EPSILON, "add")
    return unit * op.constant(np.array(count**0.5, np.float32))


def _constant(tensor: Tensor) -> ov.Node:
    return op.constant(tensor.detach().contiguous().numpy())
