"""Convolutions of V models against torch's own, and their derivatives against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from attacks.folding.convolution import Geometry, convolve, weight_gradient

GEOMETRIES = [
    Geometry(2, (1, 1), (0, 0), (1, 1)),
    Geometry(2, (2, 2), (2, 2), (1, 1)),
    Geometry(2, (2, 1), (1, 2), (1, 2)),
]


@pytest.fixture(params=[1, 5], ids=["few channels", "many channels"])
def channels(request: pytest.FixtureRequest) -> int:
    value: int = request.param
    return value


def tensors(geometry: Geometry, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, geometry.groups * channels, 4, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(geometry.groups * 2, channels, 3, 3, generator=generator, dtype=torch.float64)
    return inputs, weight


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_first_and_second_derivatives_match_finite_differences(geometry: Geometry, channels: int) -> None:
    inputs, weight = tensors(geometry, channels)
    inputs.requires_grad_()
    assert gradcheck(lambda x: convolve(x, weight, geometry), (inputs,))
    assert gradgradcheck(lambda x: convolve(x, weight, geometry).square(), (inputs,))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_weight_gradient_is_torchs_and_differentiable(geometry: Geometry, channels: int) -> None:
    inputs, weight = tensors(geometry, channels)
    weight.requires_grad_()
    outputs = F.conv2d(inputs, weight, None, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
    delta = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected,) = torch.autograd.grad(outputs, weight, delta)
    torch.testing.assert_close(weight_gradient(inputs, delta, weight, geometry), expected)
    inputs.requires_grad_()
    delta.requires_grad_()
    assert gradcheck(lambda x, d: weight_gradient(x, d, weight.detach(), geometry), (inputs, delta))
