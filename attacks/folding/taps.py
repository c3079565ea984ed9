"""Layers with parameters, for V models side by side, that store what the weight gradients are made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from attacks.folding.captured import Targets, product_distance
from attacks.folding.convolution import Geometry, convolve, convolved, weight_gradient
from attacks.folding.linear import product
from fl_sim.errors import ConfigError

# The factors of a gradient are used if they have fewer numbers than the gradient by this factor.
_MIN_SAVING = 4


class Tap(nn.Module):
    """A layer with V sets of parameters that stores its input and output for the weight gradients."""

    weight: Tensor
    bias: Tensor | None
    source: Tensor
    output: Tensor
    order: Iterator[int]

    def __init__(self, victims: int, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.victims = victims
        self.calls, self.place, self.order = 0, 0, itertools.count()
        self.trains = False
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def _count(self) -> None:
        """Note that the layer is used, and its place among the layers that are."""
        self.calls, self.place = self.calls + 1, next(self.order)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.victims = len(rows)
        self.weight = self.weight[rows]
        self.bias = None if self.bias is None else self.bias[rows]

    def replace(self, row: int, weight: Tensor, bias: Tensor | None) -> None:
        """Replace the parameters at index `row`."""
        self.weight[row] = weight
        if self.bias is not None and bias is not None:
            self.bias[row] = bias

    def gradients(self, delta: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight (V, ...) and bias (V, out) given the loss's derivative at the output."""
        raise NotImplementedError

    def distance(self, name: str, delta: Tensor, targets: Targets) -> Tensor:
        """Return (V,), the squared distance of the gradients to their targets; `name` ends in a dot."""
        weight, bias = self.gradients(delta)
        distance = _squared_distance(weight, targets.dense[f"{name}weight"])
        return distance if bias is None else distance + _squared_distance(bias, targets.dense[f"{name}bias"])


class FoldedConv2d(Tap):
    """V convolutions as one grouped convolution: (N, V*C_in, H, W) -> (N, V*C_out, H', W')."""

    def __init__(self, victims: int, layer: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(victims, weight, bias)
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ConfigError("model: a convolution with groups, or with named padding, cannot be folded over victims.")
        (self._stride, self._padding, self._dilation) = map(_pair, (layer.stride, layer.padding, layer.dilation))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, V*C_out, H', W')."""
        self._count()
        self.source = inputs
        output = (convolved if self.trains else convolve)(inputs, self._weights, self._geometry)
        if self.bias is not None:
            output = output + self.bias.view(1, -1, 1, 1)
        self.output = output
        return output

    def gradients(self, delta: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias."""
        weight = weight_gradient(self.source, delta, self._weights, self._geometry).view_as(self.weight)
        bias = None if self.bias is None else delta.sum((0, 2, 3)).view(self.victims, -1)
        return weight, bias

    @property
    def _weights(self) -> Tensor:
        return self.weight.flatten(0, 1)

    @property
    def _geometry(self) -> Geometry:
        return Geometry(self.victims, self._stride, self._padding, self._dilation)


def _squared_distance(gradient: Tensor, target: Tensor) -> Tensor:
    return (gradient - target).flatten(1).square().sum(1)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]


class FoldedLinear(Tap):
    """V linear layers as one batched product: (N, V*in) -> (N, V*out)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, V*out)."""
        self._count()
        self.source = inputs.reshape(-1, self.victims, self.weight.shape[2]).transpose(0, 1)
        outputs = torch.bmm(self.source, self.weight.mT) if self.trains else product(self.source, self.weight)
        if self.bias is not None:
            outputs = outputs + self.bias.unsqueeze(1)
        self.output = outputs.transpose(0, 1).reshape(inputs.shape[0], -1)
        return self.output

    def gradients(self, delta: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias."""
        rows = self._rows(delta)
        return torch.bmm(rows.transpose(1, 2), self.source), None if self.bias is None else rows.sum(1)

    def distance(self, name: str, delta: Tensor, targets: Targets) -> Tensor:
        """Return (V,), the squared distance of the gradients to their targets, which may be stored as factors."""
        rows, key = self._rows(delta), f"{name}weight"
        if key in targets.factored:
            weight = targets.factored[key].distance(rows, self.source)
        else:
            weight = product_distance(rows, self.source, targets.dense[key])
        if self.bias is None:
            return weight
        return weight + _squared_distance(rows.sum(1), targets.dense[f"{name}bias"])

    def rank(self, examples: int) -> int:
        """Return the rank of the weight gradient for N = `examples`, or 0 if factors would not save enough memory."""
        # The check of the fold has passed one example through the layer: its rows are the time steps.
        rows, (outputs, inputs) = self.source.shape[1] * examples, self.weight.shape[1:]
        return rows if _MIN_SAVING * rows * (outputs + inputs) <= outputs * inputs else 0

    def _rows(self, delta: Tensor) -> Tensor:
        return delta.reshape(-1, self.victims, self.weight.shape[1]).transpose(0, 1)
