"""The generators of GRNN: V of them side by side, each with its own parameters, optimiser state and fixed latent.

A generator is never trained on data. It parametrises one victim's inputs and labels, and RMSprop optimises its
parameters. Three identities, exact except for rounding, make a step cheap; the tests compare them with a plain module.

First layers, one example (B = 1). The latent z is fixed, so a transposed convolution of a 1x1 input, or a linear layer,
is h_j = sum_i z_i W_ij, and RMSprop can optimise h directly (`attacks.grnn.rmsprop`): W, which is three quarters of a
generator, is never stored.

Upsampling. A 3x3 convolution after nearest-neighbour upsampling by two reads every pixel four times. `_UpConvolve`
multiplies the small image by each of the nine taps once and adds the products at their places.

Normalisation. BatchNorm in train mode computes statistics per channel, so with V*2c channels victims stay separate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from attacks.grnn.rmsprop import Span
from fl_sim.specs import InputSpec

LATENT = 128
_LAST_WIDTH = 32


@dataclass(frozen=True)
class Layout:
    """The sizes of a generator.

    Attributes:
        base: (height, width) of the first feature map.
        widths: channels of the first feature map and after each upsampling block; the last number is the input's.
        size: (height, width) of the input; the blocks' output is cropped to it.
    """

    base: tuple[int, int]
    widths: tuple[int, ...]
    size: tuple[int, int]


def layout_of(spec: InputSpec) -> Layout:
    """Return the generator's sizes; for 32x32 those of the published code, 4x4 and three blocks of 128, 64, 32.

    The published code supports squares whose side is a power of two. Here k = floor(log2(shorter side / 4)) blocks, at
    least one, each double a map that starts with sides of ceil(side / 2^k), and the result is cropped.
    """
    blocks = max(1, int(math.log2(max(min(spec.height, spec.width) / 4, 1))))
    widths = [_LAST_WIDTH * 2**block for block in reversed(range(blocks))]
    base = (math.ceil(spec.height / 2**blocks), math.ceil(spec.width / 2**blocks))
    return Layout(base, (*widths, spec.channels), (spec.height, spec.width))


def draw(layout: Layout, classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the initial parameters of one generator by name, with the shapes of torch's layers.

    The published code specifies N(0, 0.02) but applies it to containers only, so that it uses torch's defaults.
    """

    def uniform(*shape: int, fan_in: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2.0 - 1.0) / math.sqrt(fan_in)

    first, (height, width) = 2 * layout.widths[0], layout.base
    # torch computes the fan-in of a transposed convolution from its outputs.
    parameters = {
        "first.weight": uniform(LATENT, first, height, width, fan_in=first * height * width),
        "first.bias": uniform(first, fan_in=first * height * width),
    }
    for block, (inward, outward) in enumerate(itertools.pairwise(layout.widths)):
        parameters[f"blocks.{block}.weight"] = uniform(2 * outward, inward, 3, 3, fan_in=9 * inward)
        parameters[f"blocks.{block}.scale"] = torch.ones(2 * outward)
        parameters[f"blocks.{block}.shift"] = torch.zeros(2 * outward)
    parameters["label.weight"] = uniform(classes, LATENT, fan_in=LATENT)
    parameters["label.bias"] = uniform(classes, fan_in=LATENT)
    return parameters


class Generators:
    """V generators, each with its own parameters and its own latents.

    Args:
        spec: specification of the generated inputs.
        latents: (V, B, 128), fixed; B is the number of examples that each generator produces.
        parameters: those of each victim, from `draw`.
        labels: whether there is a label branch.

    Attributes:
        parameters: {name: (V, ...)}, the parameters that RMSprop optimises. For B = 1, "first" and "label" are products
            of a latent and weights.
        spans: {name: span} of these products, for RMSprop.
    """

    def __init__(
        self, spec: InputSpec, latents: Tensor, parameters: Sequence[Mapping[str, Tensor]], *, labels: bool
    ) -> None:
        self._layout, self._latents, self._labels = layout_of(spec), latents, labels
        self._victims, self._examples = latents.shape[:2]
        self.spans: dict[str, Span] = {}
        self.parameters = self._first_layers(parameters)
        for name in parameters[0]:
            if name.startswith("blocks."):
                self.parameters[name] = torch.stack([_by_tap(own[name]) for own in parameters]).to(latents)
        for parameter in self.parameters.values():
            parameter.requires_grad_()

    def _first_layers(self, parameters: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the parameters of the layers that read the latents; for B = 1, products in place of weights."""
        bias = torch.stack([own["first.bias"] for own in parameters]).to(self._latents)
        if self._examples > 1:
            first = torch.stack([own["first.weight"].flatten(1) for own in parameters]).to(self._latents)
            result = {"first": first, "first.bias": bias}
            if self._labels:
                label = [torch.cat([own["label.weight"].T, own["label.bias"][None]]) for own in parameters]
                result["label"] = torch.stack(label).to(self._latents)
            return result
        # One victim at a time, since all weights at once would be the largest tensor of the attack.
        products = [
            torch.tensordot(latent[0], own["first.weight"].to(latent), 1)
            for latent, own in zip(self._latents, parameters, strict=True)
        ]
        self.spans["first"] = Span.of(self._latents[:, 0])
        result = {"first": torch.stack(products), "first.bias": bias}
        if self._labels:
            logits = [
                own["label.weight"].to(latent) @ latent[0] + own["label.bias"].to(latent)
                for latent, own in zip(self._latents, parameters, strict=True)
            ]
            result["label"] = torch.stack(logits)
            self.spans["label"] = Span.of(_with_one(self._latents)[:, 0])
        return result

    def points(self) -> Tensor:
        """Return (V, B*C*H*W + B*classes): inputs in [0, 1], then the label logits if there is a label branch."""
        inputs = self._images().transpose(1, 2).flatten(1)
        if not self._labels:
            return inputs
        logits = self.parameters["label"]
        if self._examples > 1:
            logits = torch.bmm(_with_one(self._latents), logits).flatten(1)
        return torch.cat([inputs, logits], 1)

    def _images(self) -> Tensor:
        """Return the inputs as (V, C, B, H, W), so that statistics of a channel are over the axes that follow it."""
        current, layout = self.parameters["first"], self._layout
        shape = (self._victims, -1, self._examples, *layout.base)
        if self._examples > 1:
            product = torch.bmm(self._latents, current).view(self._victims, self._examples, -1, *layout.base)
            current = product.transpose(1, 2)
        current = current.reshape(shape) + self.parameters["first.bias"][..., None, None, None]
        features = F.glu(current, 1)
        for block in range(len(layout.widths) - 1):
            raised: Tensor = _UpConvolve.apply(features, self.parameters[f"blocks.{block}.weight"])
            scale, shift = (self.parameters[f"blocks.{block}.{name}"].flatten() for name in ("scale", "shift"))
            channels = raised.view(1, len(scale), -1, raised.shape[-1])
            normalised = F.batch_norm(channels, None, None, scale, shift, training=True)
            features = F.glu(normalised.view_as(raised), 1)
        height, width = layout.size
        return features[..., :height, :width].sigmoid()


def _with_one(latents: Tensor) -> Tensor:
    """Return latents (V, B, 129) with a last entry of 1 for the bias."""
    return F.pad(latents, (0, 1), value=1.0)


def _by_tap(parameter: Tensor) -> Tensor:
    """Return convolution weights (out, in, 3, 3) as (9*out, in), one block per tap; other parameters unchanged."""
    return parameter.permute(2, 3, 0, 1).flatten(0, 2) if parameter.dim() == 4 else parameter


class _UpConvolve(Function):
    """3x3 convolution with padding 1 of an image upsampled by two (nearest neighbour), for V models side by side.

    (V, C_in, B, h, w), weights (V, 9*C_out, C_in) -> (V, C_out, B, 2h, 2w).
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(inputs, weight)
        taps = torch.bmm(weight, inputs.flatten(2)).view(len(weight), 3, 3, -1, *inputs.shape[2:])
        rows = _spread(taps.unbind(1)).flatten(-3, -2)
        return _spread(rows.unsqueeze(-1).unbind(1)).flatten(-3)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        inputs, weight = ctx.saved_tensors
        victims, _, examples, height, width = inputs.shape
        columns = deltas[0].reshape(victims, -1, examples, 2 * height, width, 2, 1)
        rows = _gather(columns).view(victims, 3, -1, examples, height, 2, width)
        products = _gather(rows).view(victims, -1, examples * height * width)
        for_inputs = torch.bmm(weight.transpose(1, 2), products).view_as(inputs)
        return for_inputs, torch.bmm(products, inputs.flatten(2).transpose(1, 2))


def _spread(taps: Sequence[Tensor]) -> Tensor:
    """Return (..., n, 2, m), a kernel of three applied to n doubled pixels, given each tap's products (..., n, m).

    Pixel i becomes 2i and 2i + 1; at 2i, the first tap falls on pixel i - 1; at 2i + 1, the last falls on pixel i + 1.
    """
    first, middle, last = taps
    doubled = middle.new_empty(*middle.shape[:-1], 2, middle.shape[-1])
    even, odd = doubled.unbind(-2)
    torch.add(middle, last, out=even)
    torch.add(middle, first, out=odd)
    even[..., 1:, :] += first[..., :-1, :]
    odd[..., :-1, :] += last[..., 1:, :]
    return doubled


def _gather(doubled: Tensor) -> Tensor:
    """Return (V, 3, ..., n, m), the adjoint of `_spread` at (V, ..., n, 2, m)."""
    even, odd = doubled.unbind(-2)
    taps = even.new_empty(len(even), 3, *even.shape[1:])
    first, middle, last = taps.unbind(1)
    torch.add(even, odd, out=middle)
    first.copy_(odd)
    first[..., :-1, :] += even[..., 1:, :]
    last.copy_(even)
    last[..., 1:, :] += odd[..., :-1, :]
    return taps
