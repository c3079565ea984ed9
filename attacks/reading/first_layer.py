"""The input of a single example, from the gradient of a first layer that reads all of it: division, no search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.reading.last_layer import served
from fl_sim.losses import normalised, single_output
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream

Seen = Literal["input", "direction", "time mean"]
"""What a first layer's gradient tells of a single example: the input; the input but for its sign and length, without a
bias; or, where spikes enter that differ from step to step, their mean over time, weighted by the layer's deltas."""

_PROBES, _UNITS, _POWERS = 4, 64, 3
_ROUNDING = 1e-3


@dataclass(frozen=True)
class FirstLayer:
    """A layer that multiplies the whole flattened input of the model with its weights.

    Attributes:
        weight: name of the weights, (units, pixels).
        bias: name of the bias, (units,); "" if there is none.
        constant: whether the same input enters at every time step, as it does in a network that does not spike.
    """

    weight: str
    bias: str
    constant: bool


@dataclass(frozen=True)
class InputRead:
    """What the first layer's gradient tells of the one example behind an update.

    The layer computes W x + b, at every time step of a spiking model. With delta_t the derivative of the loss at its
    output, d loss / d W = sum_t delta_t x_t^T and d loss / d b = sum_t delta_t. If x_t = x at all steps, g_W = g_b x^T
    whatever the rest of the model is, so that x = g_W^T g_b / |g_b|^2. This is the mean of the quotients of row and
    bias over the rows, weighted by the squares of the biases' gradients. It holds as well for any sum of gradients of
    the example, as several steps of SGD are.

    Source: Phong et al., "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption", IEEE TIFS 13(5),
    2018, section III; Geiping et al., "Inverting Gradients", NeurIPS 2020, proposition 3.1.

    Attributes:
        inputs: (C, H, W), in units of the InputSpec; not clamped.
        seen: what these are; see `Seen`. A direction has length 1 and is that of the normalised input.
        error: |g_W - g_b x^T| / |g_W|: about 0 if the update is unmodified and one and the same input entered.
    """

    inputs: Tensor
    seen: Seen
    error: float


def find_first_layer(capture: CapturedUpdate) -> FirstLayer | None:
    """Return the layer that reads the whole input, or None.

    It is found by evaluating the model. Whatever follows, the gradient of a batch at the weights of such a layer is
    Delta X with the flattened inputs X as rows, and Delta summed over the examples at its bias. Other weights of this
    shape have no rows in the span of the inputs. If pictures of any kind show the layer, the same input enters at every
    step; if only pictures of black and white do, which a rate code repeats like a direct one, spikes enter.

    Args:
        capture: what the server saw.
    """
    spec, model = capture.model.input, served(capture)
    named = {name: parameter for name, parameter in model.named_parameters() if name in capture.update}
    pixels = math.prod(spec.frame)
    wide = [name for name, parameter in named.items() if parameter.dim() == 2 and parameter.shape[1] == pixels]
    if spec.vocabulary or not wide or pixels < 2:
        return None
    for pictures, constant in _probes(spec):
        rows = normalised(capture.training, pictures).flatten(1).double()
        gradient = _gradients(model, named, pictures, capture)
        for name in wide:
            units = gradient[name].norm(dim=1).argsort(descending=True)[:_UNITS]
            found = gradient[name][units].double()
            deltas = torch.linalg.lstsq(rows.T, found.T).solution.T
            if _is_small(found - deltas @ rows, found):
                total = deltas.sum(1)
                flat = (one for one, biases in gradient.items() if biases.shape == gradient[name].shape[:1])
                bias = next((one for one in flat if _is_small(gradient[one][units].double() - total, total)), "")
                return FirstLayer(name, bias, constant)
    return None


def read_input(capture: CapturedUpdate, layer: FirstLayer | None) -> InputRead | None:
    """Return what the first layer tells, or None: of several examples, without such a layer, or if its update is 0.

    Args:
        capture: what the server saw.
        layer: see `find_first_layer`.
    """
    if layer is None or batch_size(capture) != 1:
        return None
    rows = capture.update[layer.weight].cpu().double()
    size = float(rows.norm())
    if not 0.0 < size < math.inf:
        return None
    frame = capture.model.input.frame
    if not layer.bias:
        found = _direction(rows)
        error = float((rows - torch.outer(rows @ found, found)).norm()) / size
        return InputRead(found.float().view(frame), "direction", error)
    delta = capture.update[layer.bias].cpu().double()
    energy = float(delta.square().sum())
    if not 0.0 < energy < math.inf:
        return None
    found = rows.T @ delta / energy
    error = float((rows - torch.outer(delta, found)).norm()) / size
    seen: Seen = "input" if layer.constant else "time mean"
    return InputRead(in_units(found.float().view(frame), capture), seen, error)


def in_units(inputs: Tensor, capture: CapturedUpdate) -> Tensor:
    """Return inputs (C, H, W) as the model reads them in units of the InputSpec, without the client's normalisation."""
    zero, one = (normalised(capture.training, torch.full_like(inputs, value)) for value in (0.0, 1.0))
    return (inputs - zero) / (one - zero)


def _direction(rows: Tensor) -> Tensor:
    """Return the first right singular vector (pixels,) of a matrix (units, pixels), of positive sum."""
    found: Tensor = rows[rows.norm(dim=1).argmax()]
    for _ in range(_POWERS):
        found = rows.T @ (rows @ (found / found.norm()))
    found = found / found.norm()
    return -found if float(found.sum()) < 0 else found


def _probes(spec: InputSpec) -> Iterator[tuple[Tensor, bool]]:
    """Yield pictures (D, C, H, W), and whether they show that the same input enters at every step."""
    count = min(_PROBES, math.prod(spec.frame) - 1)
    noise = torch.rand(count, *spec.frame, generator=torch_stream(0, "first layer"))
    if not spec.timesteps:
        yield spec.low + (spec.high - spec.low) * noise, True
    yield spec.low + (spec.high - spec.low) * noise.round(), False


def _gradients(
    model: nn.Module, named: Mapping[str, Tensor], pictures: Tensor, capture: CapturedUpdate
) -> dict[str, Tensor]:
    """Return the gradients of a random linear function of the logits of pictures; as events they never change."""
    spec, count = capture.model.input, len(pictures)
    read = normalised(capture.training, pictures)
    tensors = [parameter.detach().requires_grad_() for parameter in named.values()]
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global stream
        torch.manual_seed(0)
        inputs = read.expand(spec.timesteps, *read.shape) if spec.timesteps else read
        answers = functional_call(model, dict(zip(named, tensors, strict=True)), (inputs,))
    outputs = single_output(answers, (count, spec.classes))
    probe = torch.randn(outputs.shape, generator=torch_stream(0, "first layer's probe"))
    found = torch.autograd.grad((outputs * probe).sum(), tensors, allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def _is_small(difference: Tensor, whole: Tensor) -> bool:
    """Return whether a difference is rounding."""
    size = float(whole.norm())
    return 0.0 < size < math.inf and float(difference.norm()) <= _ROUNDING * size
