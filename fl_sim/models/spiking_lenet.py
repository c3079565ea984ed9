"""Spiking twins: networks run over time, and the twin of DLG's LeNet."""

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
    logits (N, classes). Its parameters have the names of a twin whose `body` holds the same synapses and, between
    them, activations without parameters.

    Args:
        spec: of the model.
        synapses: the layers before the head, none with a state and the first one affine; a layer of neurons follows
            each.
        head: the last layer; it reads flat features.

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
        """Return logits (N, classes) of images (N, C, H, W) or event frames (T, N, C, H, W)."""
        return self.sequence(inputs).mean(0)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Return what the output layer says at each step, (T, N, classes), potentials or spikes as `readout` has it."""
        return self._read(self.currents(inputs), self.readout)

    def output_spikes(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the output layer at each step, (T, N, classes).

        Raises:
            ConfigError: the output layer never fires.
        """
        return self._read(self.currents(inputs), self.readout.spikes)

    def currents(self, inputs: Tensor) -> Tensor:
        """Return the first layer's currents (T, N, ...) of inputs as `forward` reads them; affine in event frames."""
        synapse = self.body[0]
        if inputs.dim() == 5:
            return over_time(synapse, inputs)
        if self.encoder.name == "direct":
            # All T frames are the same: one convolution serves them all.
            return direct(synapse(inputs), self.encoder.timesteps)
        return over_time(synapse, self.encoder(inputs))

    def sequence_from(self, currents: Tensor) -> Tensor:
        """Return what `sequence` does, of what `currents` returned."""
        return self._read(currents, self.readout)

    def _read(self, currents: Tensor, readout: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what `readout` makes of the output layer's currents (T, N, classes), of the first layer's."""
        functional.reset_net(self)
        synapses, neurons = self.body[0::2], self.body[1::2]
        activity = neurons[0](currents)
        for synapse, neuron in zip(synapses[1:], neurons[1:], strict=True):
            activity = neuron(over_time(synapse, activity))
        said = readout(over_time(self.head, activity.flatten(2)))
        # Neurons keep their last potential; a graph left there could neither be copied nor saved.
        functional.reset_net(self)
        return said


class SpikingLeNet(SpikingTwin):
    """DLG's LeNet with spiking neurons in place of sigmoids, run over T steps.

    It has the parameters of `LeNet`, by name and shape.

    Source: Aksu, Martinez del Rincon and Alouani, arXiv 2511.21181, sections III-A and IV-A (LeNet5SNN). Their text
    leaves the variant of LeNet open; this is the one that DLG and iDLG attack.

    Raises:
        ConfigError: the spec has no spiking settings.
    """

    def __init__(self, spec: ModelSpec) -> None:
        head = nn.Linear(feature_count(spec.input), spec.input.classes)
        super().__init__(spec, convolutions(spec.input.channels), head)


def over_time(layer: nn.Module, sequence: Tensor) -> Tensor:
    """Apply a stateless layer to all steps of a sequence (T, N, ...) in one call."""
    steps, count = sequence.shape[:2]  # the count may be 0, which a -1 below could not tell
    output: Tensor = layer(sequence.flatten(0, 1))
    return output.view(steps, count, *output.shape[1:])


class Activity(NamedTuple):
    """What a layer of spiking neurons did on a batch of inputs.

    Attributes:
        rate: mean spikes of a neuron and time step.
        silent: share of neurons that never spiked on an input, mean over the inputs.
    """

    rate: float
    silent: float


@torch.no_grad()
def activities(model: nn.Module, inputs: Tensor) -> dict[str, Activity]:
    """Return what each layer of SpikingJelly's neurons does, by module name; {} of a network that has none.

    Output neurons that fire are such a layer too, unless the model reads their potential.

    Args:
        model: any; its layers of neurons are run once for all steps, or once a step.
        inputs: as it reads them.
    """
    steps: dict[str, list[Tensor]] = {}

    def note(name: str, module: nn.Module, spikes: Tensor) -> None:
        whole = getattr(module, "step_mode", "m") == "m"
        steps.setdefault(name, []).append(spikes if whole else spikes.unsqueeze(0))

    handles = [
        module.register_forward_hook(lambda module, _inputs, spikes, name=name: note(name, module, spikes))
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
