"""Spiking neurons and surrogates by name, on SpikingJelly's activation-based neurons in multi-step mode."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from fl_sim.errors import unknown_name
from fl_sim.specs import SpikingSpec


class FastSigmoid(surrogate.SurrogateFunctionBase):  # type: ignore[misc]  # SpikingJelly is untyped
    """Heaviside forward; backward the derivative of x / (1 + alpha |x|), that is 1 / (1 + alpha |x|)^2.

    Source: Zenke and Ganguli 2018, Neural Computation 30(6); snnTorch scales it in the same way.
    """

    def __init__(self, alpha: float = 25.0, spiking: bool = True) -> None:
        super().__init__(alpha=alpha, spiking=spiking)

    @staticmethod
    def spiking_function(x: Tensor, alpha: float) -> Tensor:
        """Return the spikes of potentials x above threshold, same shape."""
        smooth = FastSigmoid.primitive_function(x, alpha)
        # The difference is computed first, so that it is exactly 0 and the spikes stay binary.
        return (x >= 0).to(x).detach() + (smooth - smooth.detach())

    @staticmethod
    def primitive_function(x: Tensor, alpha: float) -> Tensor:
        """Return the smooth function whose derivative stands in for the spike's."""
        return x / (1.0 + alpha * x.abs())


SURROGATES = {"atan": surrogate.ATan, "sigmoid": surrogate.Sigmoid, "fast_sigmoid": FastSigmoid}


def build_neuron(spec: SpikingSpec) -> nn.Module:
    """Return a layer of neurons that reads currents (T, N, ...) and returns spikes of the same shape.

    Raises:
        ConfigError: the surrogate is not known or has no second derivative.
    """
    if spec.surrogate not in SURROGATES:
        raise unknown_name("model.surrogate", spec.surrogate, SURROGATES)
    settings: dict[str, Any] = {
        "v_threshold": spec.threshold,
        "v_reset": 0.0 if spec.reset == "hard" else None,
        "surrogate_function": SURROGATES[spec.surrogate](alpha=spec.slope),
        "detach_reset": spec.detach_reset,
        "step_mode": "m",
    }
    node: nn.Module = neuron.LIFNode(tau=spec.tau, **settings) if spec.neuron == "lif" else neuron.IFNode(**settings)
    return node


def build_readout(spec: SpikingSpec) -> nn.Module:
    """Return the output layer: reads currents (T, N, classes).

    "membrane" integrates them in neurons that never fire and returns the time mean of the membrane potential
    (N, classes); "spikes" returns spikes (T, N, classes), to be averaged over time by the caller.
    """
    if spec.readout == "spikes":
        return build_neuron(spec)
    readout: nn.Module = (
        neuron.NonSpikingLIFNode(tau=spec.tau, decode="mean-mem")
        if spec.neuron == "lif"
        else neuron.NonSpikingIFNode(decode="mean-mem")
    )
    return readout


def forget(readout: nn.Module) -> None:
    """Drop the last potential of a layer from `build_readout`; one that never fires has no reset of its own."""
    if hasattr(readout, "decode"):  # only those that never fire have one
        readout.v = torch.zeros(())
