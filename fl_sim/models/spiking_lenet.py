"""Spiking twins, networks that run over time, and the twin of DLG's LeNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from fl_sim.encoders import Encoder, direct
from fl_sim.errors import ConfigError
from fl_sim.models.lenet import convolutions, feature_count
from fl_sim.models.neurons import Readout, build_neuron
from fl_sim.specs import ModelSpec


class SpikingTwin(nn.Module):
    """A network whose activations are spiking neurons, run over T steps.

    Reads images (N, C, H, W), which its encoder turns into T steps, or event frames (T, N, C, H, W), and returns
    logits (N, classes). Its parameters have the same names as in the ANN whose `body` has the same synapses separated
    by activations without parameters.

    Args:
        spec: specification of the model.
        synapses: the layers before the head, all stateless and the first one affine; each is followed by a layer of
            neurons.
        head: the last layer, which reads flat features.

    Raises:
        ConfigError: the spec has no spiking settings.
    """

    def __init__(self, spec: ModelSpec, synapses: Sequence[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        if spec.spiking is None:
            raise ConfigError(
                f"model: '{spec.architecture}' needs spiking settings (timesteps, neuron, ...), got none."
            )
        self.encoder = Encoder(spec.spiking.encoder, spec.spiking.timesteps)
        body: list[nn.Module] = []
        for synapse in synapses:
            body += [synapse, build_neuron(spec.spiking)]
        self.body = nn.ModuleList(body)
        self.head = head
        self.readout = Readout(spec.spiking)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, H, W) or event frames (T, N, C, H, W)."""
        return self.sequence(inputs).mean(0)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Return the output at each step, (T, N, classes): potentials or spikes, depending on `readout`."""
        return self._read(self.currents(inputs), self.readout)

    def output_spikes(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the output layer at each step, (T, N, classes).

        Raises:
            ConfigError: the output layer never fires.
        """
        return self._read(self.currents(inputs), self.readout.spikes)

    def currents(self, inputs: Tensor) -> Tensor:
        """Return the first layer's currents (T, N, ...) for the inputs of `forward`; affine in event frames."""
        synapse = self.body[0]
        if inputs.dim() == 5:
            return over_time(synapse, inputs)
        if self.encoder.name == "direct":
            # All T frames are the same, so one convolution is enough.
            return direct(synapse(inputs), self.encoder.timesteps)
        return over_time(synapse, self.encoder(inputs))

    def sequence_from(self, currents: Tensor) -> Tensor:
        """Return the result of `sequence` from that of `currents`."""
        return self._read(currents, self.readout)

    def _read(self, currents: Tensor, readout: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `readout` of the output layer's currents (T, N, classes), given those of the first layer."""
        functional.reset_net(self)
        synapses, neurons = self.body[0::2], self.body[1::2]
        activity = neurons[0](currents)
        for synapse, neuron in zip(synapses[1:], neurons[1:], strict=True):
            activity = neuron(over_time(synapse, activity))
        outputs = readout(over_time(self.head, activity.flatten(2)))
        # Neurons keep their last potential, whose autograd graph could be neither copied nor saved.
        functional.reset_net(self)
        return outputs


class SpikingLeNet(SpikingTwin):
    """DLG's LeNet with spiking neurons in place of sigmoids, run over T steps.

    It has the same parameters as `LeNet`, by name and shape.

    Source: Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, sections III-A and IV-A (LeNet5SNN). Their text
    does not specify the variant of LeNet; this is the one that DLG and iDLG attack.

    Raises:
        ConfigError: the spec has no spiking settings.
    """

    def __init__(self, spec: ModelSpec) -> None:
        head = nn.Linear(feature_count(spec.input), spec.input.classes)
        super().__init__(spec, convolutions(spec.input.channels), head)


def over_time(layer: nn.Module, sequence: Tensor) -> Tensor:
    """Apply a stateless layer to all steps of a sequence (T, N, ...) in one call."""
    steps, count = sequence.shape[:2]  # the count may be 0, so that -1 could not be used below
    output: Tensor = layer(sequence.flatten(0, 1))
    return output.view(steps, count, *output.shape[1:])


class Activity(NamedTuple):
    """The activity of a layer of spiking neurons on a batch of inputs.

    Attributes:
        rate: mean number of spikes per neuron and time step.
        silent: share of the neurons that do not spike on an input, averaged over the inputs.
    """

    rate: float
    silent: float


@torch.no_grad()
def activities(model: nn.Module, inputs: Tensor) -> dict[str, Activity]:
    """Return the activity of each layer of SpikingJelly neurons by module name; {} if the network has none.

    Output neurons that fire are included, unless the model reads out their potential.

    Args:
        model: any model; its layers of neurons may run once for all steps or once per step.
        inputs: inputs of the model.
    """
    steps: dict[str, list[Tensor]] = {}

    def record(name: str, module: nn.Module, spikes: Tensor) -> None:
        all_steps = getattr(module, "step_mode", "m") == "m"
        steps.setdefault(name, []).append(spikes if all_steps else spikes.unsqueeze(0))

    handles = [
        module.register_forward_hook(lambda module, _inputs, spikes, name=name: record(name, module, spikes))
        for name, module in model.named_modules()
        if hasattr(module, "surrogate_function") and hasattr(module, "v_threshold")
    ]
    try:
        if handles:
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _activity(torch.cat(parts)) for name, parts in steps.items()}


def _activity(spikes: Tensor) -> Activity:
    """Return the activity of spikes (T, N, ...)."""
    return Activity(float(spikes.mean()), float((spikes == 0).all(0).float().mean()))
