"""Spiking neurons and surrogates by name, on SpikingJelly's activation-based neurons in multi-step mode."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from fl_sim.errors import ConfigError, unknown_name
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


def _constants(spec: SpikingSpec) -> dict[str, Any]:
    """Return what all of SpikingJelly's neurons take.

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
    """IF or LIF neurons whose potential before the reset can be read, with a soft reset in either order.

    SpikingJelly's own neurons show the potential after the reset only, and know one order.
    """

    v: Tensor

    def __init__(self, spec: SpikingSpec) -> None:
        super().__init__(**_constants(spec))
        leaky = spec.neuron == "lif"
        self.decay = 1.0 - 1.0 / spec.tau if leaky else 1.0
        self.gain = 1.0 / spec.tau if leaky and spec.decay_input else 1.0
        # A reset of threshold / decay at the spike is one of the threshold after the decay of the next step.
        self.jump = spec.threshold / self.decay if spec.reset_order == "after_decay" else spec.threshold

    def neuronal_charge(self, x: Tensor) -> None:
        """Let the potential decay, and add currents (N, ...)."""
        self.v = self.decay * self.v + self.gain * x

    def neuronal_reset(self, spike: Tensor) -> None:
        """Reset the potential of the neurons that have just fired; spikes are (N, ...)."""
        if self.v_reset is None:
            self.v = self.v - self.jump * (spike.detach() if self.detach_reset else spike)
        else:
            super().neuronal_reset(spike)

    def course(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the potentials before the reset and the spikes, each (T, N, ...), of currents (T, N, ...)."""
        potentials, spikes = [], []
        for current in currents:
            self.neuronal_charge(current)
            potentials.append(self.v)
            spikes.append(self.neuronal_fire())
            self.neuronal_reset(spikes[-1])
        return torch.stack(potentials), torch.stack(spikes)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Return spikes (T, N, ...) of currents of the same shape."""
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
    """An output layer: what a model says at each step.

    Args:
        spec: `readout` chooses among "membrane", the potential of neurons that never fire, "spikes", and "potential",
            that of neurons that fire, before the reset.

    Raises:
        ConfigError: the surrogate is not known or has no second derivative.
    """

    def __init__(self, spec: SpikingSpec) -> None:
        super().__init__()
        self.kind = spec.readout
        # Neurons that never fire take 1/tau of a current, always.
        self.gain = spec.tau if spec.neuron == "lif" and not spec.decay_input else 1.0
        if spec.readout == "membrane":
            lif = spec.neuron == "lif"
            self.node: nn.Module = neuron.NonSpikingLIFNode(tau=spec.tau) if lif else neuron.NonSpikingIFNode()
        else:
            self.node = PotentialNode(spec) if spec.readout == "potential" else build_neuron(spec)

    def forward(self, currents: Tensor) -> Tensor:
        """Return potentials or spikes (T, N, classes) of currents of the same shape."""
        if self.kind == "spikes":
            spikes: Tensor = self.node(currents)
            return spikes
        if isinstance(self.node, PotentialNode):
            return self.node.course(currents)[0]
        potentials = torch.stack(self.node(currents if self.gain == 1.0 else self.gain * currents))
        # A node that never fires has no reset; a graph left in it could neither be copied nor saved.
        self.node.v = torch.zeros(())
        return potentials

    def spikes(self, currents: Tensor) -> Tensor:
        """Return spikes (T, N, classes) of currents of the same shape.

        Raises:
            ConfigError: the neurons never fire.
        """
        if self.kind == "membrane":
            raise ConfigError('model.readout: the output neurons of "membrane" never fire; choose spikes or potential.')
        spikes: Tensor = self.node(currents)
        return spikes
