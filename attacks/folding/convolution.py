"""Convolutions of V models side by side, differentiable twice with respect to their inputs and output derivatives.

A convolution with fixed weights is a linear map A; its backward pass is the adjoint A^T, whose own backward pass is A
again. The gradient of a convolution's weights is bilinear in its input and in the derivative at its output, so both of
its derivatives are convolutions too. Explicit formulas avoid torch's generic double backward, which loops over the
groups of a grouped convolution, and the patches (im2col) of every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

# Up to this number of input channels, the library's adjoint of a grouped convolution is slower than patches.
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class Geometry:
    """The settings that all V convolutions of a layer share.

    Attributes:
        groups: V, the number of models; inputs are (N, V*C_in, H, W) and weights (V*C_out, C_in, kh, kw).
        stride, padding, dilation: as in torch.nn.Conv2d.
    """

    groups: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def convolve(inputs: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the grouped convolution of inputs (N, V*C_in, H, W); no gradient goes to the weights."""
    result: Tensor = _Convolve.apply(inputs, weight, geometry)
    return result


def weight_gradient(inputs: Tensor, delta: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient of the weights (V*C_out, C_in, kh, kw), summed over N.

    Args:
        inputs: (N, V*C_in, H, W), the input of the convolution.
        delta: (N, V*C_out, H', W'), the derivative at its output.
        weight: the weights; only their shape matters.
        geometry: settings of the convolution.
    """
    result: Tensor = _WeightGradient.apply(inputs, delta, weight, geometry)
    return result


def convolved(inputs: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return what `convolve` returns, with a gradient for the weights."""
    return _forward(inputs, weight, geometry)


class _Convolve(Function):
    """A: inputs -> outputs."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:  # noqa: ANN401
        ctx.weight, ctx.geometry, ctx.size = weight, geometry, inputs.shape[2:]
        return _forward(inputs, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, None, None]:  # noqa: ANN401
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return _Adjoint.apply(deltas[0], ctx.weight, ctx.geometry, ctx.size), None, None


class _Adjoint(Function):
    """A^T: derivatives at the outputs -> derivatives at the inputs."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, weight: Tensor, geometry: Geometry, size: torch.Size) -> Tensor:  # noqa: ANN401
        ctx.weight, ctx.geometry = weight, geometry
        return _adjoint(delta, weight, geometry, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        return _Convolve.apply(gradients[0], ctx.weight, ctx.geometry), None, None, None


class _WeightGradient(Function):
    """The weight gradient; differentiable once, as a matching loss needs it."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, delta: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(inputs, delta)
        ctx.geometry = geometry
        mask = [False, True, False]
        gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            delta, inputs, weight, None, *_arguments(geometry), mask
        )
        return gradients[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # noqa: ANN401
        inputs, delta = ctx.saved_tensors
        for_inputs = None
        if ctx.needs_input_grad[0]:
            for_inputs = _adjoint(delta, gradients[0], ctx.geometry, inputs.shape[2:])
        for_delta = _forward(inputs, gradients[0], ctx.geometry) if ctx.needs_input_grad[1] else None
        return for_inputs, for_delta, None, None


def _forward(inputs: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    return F.conv2d(inputs, weight, None, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)


def _adjoint(delta: Tensor, weight: Tensor, geometry: Geometry, size: torch.Size) -> Tensor:
    """Return A^T delta, of shape (N, V*C_in, *size)."""
    count, models, channels = len(delta), geometry.groups, weight.shape[1]
    if channels > _FEW_CHANNELS:
        inputs = delta.new_empty(1).expand(count, models * channels, *size)
        mask = [True, False, False]
        gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            delta, inputs, weight, None, *_arguments(geometry), mask
        )
        return gradients[0]
    kernels = weight.reshape(models, -1, weight[0].numel()).transpose(1, 2)
    kernels = kernels.expand(count, *kernels.shape).flatten(0, 1)
    patches = torch.bmm(kernels, delta.reshape(count * models, -1, delta[0, 0].numel()))
    folded = F.fold(patches, size, weight.shape[2:], geometry.dilation, geometry.padding, geometry.stride)
    return folded.view(count, models * channels, *size)


def _arguments(geometry: Geometry) -> tuple[Any, ...]:
    """Return the middle arguments of torch's convolution_backward: not transposed, no output padding."""
    return geometry.stride, geometry.padding, geometry.dilation, False, [0, 0], geometry.groups
