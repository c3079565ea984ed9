"""The whole time sequence of a layer of spiking neurons as one function, differentiable twice.

The neurons are SpikingJelly's IFNode and LIFNode; only the implementation differs. Autograd through T steps records
some two thousand small operations for a second derivative; here each pass is one linear recurrence over time. With
decay a and input gain b (both 1 for IF; 1 - 1/tau and 1/tau for LIF):

    h[t] = a v[t-1] + b x[t]        potential before the reset
    s[t] = H(h[t] - threshold)      spike; its derivative is the surrogate's, sigma'
    v[t] = h[t] (1 - s[t])          hard reset, or v[t] = h[t] - threshold s[t], soft

    dv/dh = c[t] = 1 - s - h sigma' (hard), 1 - threshold sigma' (soft); without sigma' if the reset is detached

The backward pass is G[t] = sigma'[t] g[t] + a c[t] G[t+1]; its own derivative is one recurrence forward and another
backward in time, both with the factors a c[t].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn
from torch.autograd import Function

from fl_sim.models.neurons import FastSigmoid

Derivatives = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""(potential minus threshold, slope) -> first and second derivative of the surrogate."""


@dataclass(frozen=True)
class Dynamics:
    """The dynamics of a layer of neurons: the constants of the recurrence above."""

    decay: float
    gain: float
    threshold: float
    hard_reset: bool
    detach_reset: bool
    slope: float
    derivatives: Derivatives


def _atan(u: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    scale = math.pi / 2 * slope
    bell = 1.0 / (1.0 + (scale * u).square())
    return slope / 2 * bell, -slope * scale**2 * u * bell.square()


def _sigmoid(u: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    s = torch.sigmoid(slope * u)
    first = slope * s * (1.0 - s)
    return first, slope * first * (1.0 - 2.0 * s)


def _fast_sigmoid(u: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / (1.0 + slope * u.abs())
    return inverse.square(), -2.0 * slope * u.sign() * inverse**3


_DERIVATIVES: dict[type[nn.Module], Derivatives] = {
    surrogate.ATan: _atan,
    surrogate.Sigmoid: _sigmoid,
    FastSigmoid: _fast_sigmoid,
}


def dynamics_of(layer: Any) -> Dynamics | None:  # noqa: ANN401 - SpikingJelly is untyped
    """Return the dynamics of a layer of SpikingJelly neurons, or None if the layer is not supported."""
    if type(layer) not in (neuron.IFNode, neuron.LIFNode) or layer.step_mode != "m" or layer.v_reset not in (0.0, None):
        return None
    derivatives = _DERIVATIVES.get(type(layer.surrogate_function))
    leaky = type(layer) is neuron.LIFNode
    if derivatives is None or (leaky and not layer.decay_input):
        return None
    return Dynamics(
        decay=1.0 - 1.0 / layer.tau if leaky else 1.0,
        gain=1.0 / layer.tau if leaky else 1.0,
        threshold=layer.v_threshold,
        hard_reset=layer.v_reset is not None,
        detach_reset=layer.detach_reset,
        slope=float(layer.surrogate_function.alpha),
        derivatives=derivatives,
    )


class SequenceNeurons(nn.Module):
    """A layer of neurons over all T steps at once; reads currents (T, ...), returns spikes of the same shape."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, currents: Tensor) -> Tensor:
        """Return spikes (T, ...), 0 or 1, for currents (T, ...); the potential starts at 0."""
        spikes: Tensor = _Spikes.apply(currents, self.dynamics)
        return spikes


class _Spikes(Function):
    """Currents -> spikes."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, dynamics: Dynamics) -> Tensor:  # noqa: ANN401
        potentials, spikes = torch.empty_like(currents), torch.empty_like(currents)
        voltage = torch.zeros_like(currents[0])
        for step, current in enumerate(currents):
            potential = torch.add(dynamics.decay * voltage, current, alpha=dynamics.gain, out=potentials[step])
            spike = torch.ge(potential, dynamics.threshold, out=spikes[step])
            voltage = potential - (potential if dynamics.hard_reset else dynamics.threshold) * spike
        ctx.save_for_backward(currents, potentials, spikes)
        ctx.dynamics = dynamics
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return _Backward.apply(gradients[0], *ctx.saved_tensors, ctx.dynamics), None


class _Backward(Function):
    """Derivatives at the spikes -> derivatives at the currents, itself differentiable in both."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        gradients: Tensor,
        currents: Tensor,  # noqa: ARG004 - the second derivative is with respect to it
        potentials: Tensor,
        spikes: Tensor,
        dynamics: Dynamics,
    ) -> Tensor:
        first, second = dynamics.derivatives(potentials - dynamics.threshold, dynamics.slope)
        carry, carry_slope = _reset_derivatives(potentials, spikes, first, second, dynamics)
        carry *= dynamics.decay
        adjoints = _backward_in_time(gradients * first, carry)
        ctx.save_for_backward(gradients, first, second, carry, carry_slope, adjoints)
        ctx.dynamics = dynamics
        return dynamics.gain * adjoints

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # noqa: ANN401
        gradients, first, second, carry, carry_slope, adjoints = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        weights = _forward_in_time(dynamics.gain * outer[0], carry)
        local = second * gradients
        local[:-1].addcmul_(carry_slope[:-1], adjoints[1:], value=dynamics.decay)
        for_currents = dynamics.gain * _backward_in_time(local.mul_(weights), carry)
        return weights * first, for_currents, None, None, None


def _reset_derivatives(
    potentials: Tensor, spikes: Tensor, first: Tensor, second: Tensor, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Return c[t] = dv/dh and its derivative with respect to h, with the surrogate's derivatives for the spike."""
    if dynamics.detach_reset:
        carry = 1.0 - spikes if dynamics.hard_reset else torch.ones_like(spikes)
        return carry, torch.zeros_like(spikes)
    if dynamics.hard_reset:
        return 1.0 - spikes - potentials * first, -2.0 * first - potentials * second
    return 1.0 - dynamics.threshold * first, -dynamics.threshold * second


def _backward_in_time(sources: Tensor, carry: Tensor) -> Tensor:
    """Return G with G[t] = sources[t] + carry[t] G[t+1], which overwrites the sources."""
    for step in range(len(sources) - 2, -1, -1):
        sources[step].addcmul_(carry[step], sources[step + 1])
    return sources


def _forward_in_time(sources: Tensor, carry: Tensor) -> Tensor:
    """Return R with R[t] = sources[t] + carry[t-1] R[t-1], which overwrites the sources."""
    for step in range(1, len(sources)):
        sources[step].addcmul_(carry[step - 1], sources[step - 1])
    return sources
