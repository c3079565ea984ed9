"""Spiking neurons and surrogates by name, on SpikingJelly's activation-based neurons in multi-step mode."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models.first_spike import fire_first_spike
from fl_sim.specs import SpikingSpec

fire_first_spike()  # before any layer does, a user's own too: the attacks import this module


class FastSigmoid(surrogate.SurrogateFunctionBase):  # type: ignore[misc]  # SpikingJelly is untyped
    """Heaviside in the forward pass; in the backward pass, the derivative 1 / (1 + alpha |x|)^2 of x / (1 + alpha |x|).

    Source: Zenke and Ganguli 2018, Neural Computation 30(6), with the scale of snnTorch.
    """

    def __init__(self, alpha: float = 25.0, spiking: bool = True) -> None:
        super().__init__(alpha=alpha, spiking=spiking)

    @staticmethod
    def spiking_function(x: Tensor, alpha: float) -> Tensor:
        """Return the spikes for potentials x relative to the threshold, of the same shape."""
        smooth = FastSigmoid.primitive_function(x, alpha)
        # Computing the difference first makes it exactly 0, so that the spikes stay binary.
        return (x >= 0).to(x).detach() + (smooth - smooth.detach())

    @staticmethod
    def primitive_function(x: Tensor, alpha: float) -> Tensor:
        """Return the smooth function whose derivative replaces that of the spike."""
        return x / (1.0 + alpha * x.abs())


SURROGATES = {"atan": surrogate.ATan, "sigmoid": surrogate.Sigmoid, "fast_sigmoid": FastSigmoid}


def _constants(spec: SpikingSpec) -> dict[str, Any]:
    """Return the arguments that all of SpikingJelly's neurons take.

    Raises:
        ConfigError: the surrogate is not known or has no second derivative.
    """
    if spec.surrogate not in SURROGATES:
        raise unknown_name("model.surrogate", spec.surrogate, SURROGATES)
    return {
        "v_threshold": spec.threshold,
        "v_reset": 0.0 if spec.reset == "hard" else None,
        "surrogate_function": SURROGATES[spec.surrogate](alpha=spec.slope),
        "detach_reset": spec.detach_reset,
        "step_mode": "m",
    }


class PotentialNode(neuron.SimpleBaseNode):  # type: ignore[misc]  # SpikingJelly is untyped
    """IF or LIF neurons with access to the potential before the reset, and with a soft reset in either order.

    SpikingJelly's own neurons give access only to the potential after the reset, and have only one order.
    """

    v: Tensor

    def __init__(self, spec: SpikingSpec) -> None:
        super().__init__(**_constants(spec))
        leaky = spec.neuron == "lif"
        self.decay = 1.0 - 1.0 / spec.tau if leaky else 1.0
        self.gain = 1.0 / spec.tau if leaky and spec.decay_input else 1.0
        # Subtracting threshold / decay at the spike equals subtracting the threshold after the decay of the next step.
        self.jump = spec.threshold / self.decay if spec.reset_order == "after_decay" else spec.threshold

    def neuronal_charge(self, x: Tensor) -> None:
        """Apply the decay to the potential and add currents (N, ...)."""
        self.v = self.decay * self.v + self.gain * x

    def neuronal_reset(self, spike: Tensor) -> None:
        """Reset the potential of the neurons that have just fired, given by spikes (N, ...)."""
        if self.v_reset is None:
            self.v = self.v - self.jump * (spike.detach() if self.detach_reset else spike)
        else:
            super().neuronal_reset(spike)

    def course(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the potentials before the reset and the spikes, each (T, N, ...), for currents (T, N, ...)."""
        potentials, spikes = [], []
        for current in currents:
            self.neuronal_charge(current)
            potentials.append(self.v)
            spikes.append(self.neuronal_fire())
            self.neuronal_reset(spikes[-1])
        return torch.stack(potentials), torch.stack(spikes)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Return spikes (T, N, ...) for currents of the same shape."""
        return self.course(x_seq)[1]


def build_neuron(spec: SpikingSpec) -> nn.Module:
    """Return a layer of neurons that reads currents (T, N, ...) and returns spikes of the same shape.

    Raises:
        ConfigError: the surrogate is not known or has no second derivative.
    """
    if spec.reset_order == "after_decay":
        return PotentialNode(spec)
    constants = _constants(spec)
    node: nn.Module = (
        neuron.LIFNode(tau=spec.tau, decay_input=spec.decay_input, **constants)
        if spec.neuron == "lif"
        else neuron.IFNode(**constants)
    )
    return node


class Readout(nn.Module):
    """The output layer of a model, with an output at each step.

    Args:
        spec: `readout` is "membrane" (the potential of neurons that never fire), "spikes", or "potential" (the
            potential of neurons that fire, taken before the reset).

    Raises:
        ConfigError: the surrogate is not known or has no second derivative.
    """

    def __init__(self, spec: SpikingSpec) -> None:
        super().__init__()
        self.kind = spec.readout
        # SpikingJelly's neurons that never fire always multiply a current by 1/tau.
        self.gain = spec.tau if spec.neuron == "lif" and not spec.decay_input else 1.0
        if spec.readout == "membrane":
            lif = spec.neuron == "lif"
            self.node: nn.Module = neuron.NonSpikingLIFNode(tau=spec.tau) if lif else neuron.NonSpikingIFNode()
        else:
            self.node = PotentialNode(spec) if spec.readout == "potential" else build_neuron(spec)

    def forward(self, currents: Tensor) -> Tensor:
        """Return potentials or spikes (T, N, classes) for currents of the same shape."""
        if self.kind == "spikes":
            spikes: Tensor = self.node(currents)
            return spikes
        if isinstance(self.node, PotentialNode):
            return self.node.course(currents)[0]
        potentials = torch.stack(self.node(currents if self.gain == 1.0 else self.gain * currents))
        # A node that never fires has no `reset`; an autograd graph left in it could be neither copied nor saved.
        self.node.v = torch.zeros(())
        return potentials

    def spikes(self, currents: Tensor) -> Tensor:
        """Return spikes (T, N, classes) for currents of the same shape.

        Raises:
            ConfigError: the neurons never fire.
        """
        if self.kind == "membrane":
            raise ConfigError('model.readout: the output neurons of "membrane" never fire; choose spikes or potential.')
        spikes: Tensor = self.node(currents)
        return spikes
