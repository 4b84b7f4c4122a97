import math

import pytest
import torch
import torch.nn.functional as F

from models.layers import (
    DownsampleConv2d,
    EqualizedConv2d,
    EqualizedLinear,
    UpsampleConv2d,
    minibatch_stddev,
    pixel_norm,
    upsample,
)


def test_equalized_layers_scale_weights_at_run_time_and_leave_the_bias_alone() -> None:
    layer = EqualizedLinear(50, 3, gain=2.0)
    with torch.no_grad():
        layer.bias.fill_(5.0)
    x = torch.randn(4, 50)
    expected = x @ layer.weight.T * 2.0 / math.sqrt(50) + 5.0
    torch.testing.assert_close(layer(x), expected)


def test_equalized_convolution_keeps_unit_variance_at_gain_one() -> None:
    torch.manual_seed(0)
    layer = EqualizedConv2d(64, 64, 3, gain=1.0)
    inner = layer(torch.randn(8, 64, 16, 16))[:, :, 1:-1, 1:-1]
    assert inner.std().item() == pytest.approx(1.0, abs=0.05)


def test_upsampling_convolution_equals_nearest_neighbour_then_convolution() -> None:
    layer = UpsampleConv2d(5, 7)
    x = torch.randn(2, 5, 8, 8)
    expected = F.conv2d(upsample(x), layer.effective_weight(), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_downsampling_convolution_equals_convolution_then_pooling() -> None:
    layer = DownsampleConv2d(5, 7)
    x = torch.randn(2, 5, 8, 8)
    convolved = F.conv2d(x, layer.effective_weight(), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), F.avg_pool2d(convolved, 2), atol=1e-5, rtol=1e-5)


def test_pixel_norm_gives_unit_mean_square_and_the_right_gradient() -> None:
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    mean_square = pixel_norm(x).square().mean(dim=1)
    torch.testing.assert_close(mean_square, torch.ones_like(mean_square))
    assert torch.autograd.gradcheck(pixel_norm, (x,))


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (4, 4), (6, 3), (3, 3), (1, 1), (7, 1)])
def test_minibatch_stddev_is_the_mean_deviation_of_strided_groups(batch: int, group: int) -> None:
    x = torch.randn(batch, 2, 4, 4)
    extra = minibatch_stddev(x)[:, 2]
    for i in range(batch):
        members = x[i % (batch // group) :: batch // group]
        expected = (members.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(extra[i], expected.expand(4, 4))


def test_minibatch_stddev_tells_copies_from_different_pictures() -> None:
    copies = torch.randn(1, 3, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_stddev(copies)[:, 3].max() < 1e-3
    assert minibatch_stddev(torch.randn(4, 3, 4, 4))[:, 3].min() > 0.3
