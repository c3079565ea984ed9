"""Spiking networks on SpikingJelly. As in its tutorials they do not reset their neurons in the forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import sew_resnet
from torch import Tensor, nn

from fl_sim.specs import ModelSpec

STEPS = 4


def integrate() -> nn.Module:
    """Return IF neurons; their threshold is low enough for a network that is not trained to spike."""
    node: nn.Module = neuron.IFNode(v_threshold=0.5, surrogate_function=surrogate.ATan())
    return node


def leaky() -> nn.Module:
    """Return LIF neurons with the reset out of the backward pass."""
    node: nn.Module = neuron.LIFNode(
        tau=2.0, v_threshold=0.1, surrogate_function=surrogate.Sigmoid(), detach_reset=True
    )
    return node


def parametric() -> nn.Module:
    """Return LIF neurons whose time constant is trained, with a soft reset."""
    node: nn.Module = neuron.ParametricLIFNode(
        init_tau=2.0, decay_input=False, v_threshold=0.1, v_reset=None, surrogate_function=surrogate.ATan()
    )
    return node


class Repeated(nn.Module):
    """A network in multi-step mode that shows an image T times and averages its outputs over time."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.net(x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1))
        return outputs.mean(0)


def convolutional(spec: ModelSpec, node: Callable[[], nn.Module] = integrate, *, norm: bool = False) -> nn.Module:
    """Return the convolutional network of SpikingJelly's tutorial at a small size, with or without normalisation."""
    side = spec.input.height // 4
    norms = [[layer.BatchNorm2d(8)] if norm else [] for _ in range(2)]
    return Repeated(
        nn.Sequential(
            layer.Conv2d(spec.input.channels, 8, kernel_size=3, padding=1, bias=not norm),
            *norms[0],
            node(),
            layer.MaxPool2d(2, 2),
            layer.Conv2d(8, 8, kernel_size=3, padding=1, bias=not norm),
            *norms[1],
            node(),
            layer.MaxPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(8 * side * side, 16, bias=False),
            node(),
            layer.Linear(16, spec.input.classes, bias=False),
            node(),
        )
    )


class OfEvents(nn.Module):
    """A network that reads frames of events; its layers without a state stand in containers."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.features = nn.Sequential(
            layer.SeqToANNContainer(
                nn.Conv2d(spec.input.channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.AvgPool2d(2)
            ),
            neuron.IFNode(surrogate_function=surrogate.ATan(), step_mode="m"),
            layer.SeqToANNContainer(nn.Flatten()),
            layer.Dropout(0.25, step_mode="m"),
        )
        side = spec.input.height // 2
        self.head = layer.SeqToANNContainer(nn.Linear(8 * side * side, spec.input.classes))
        self.readout = neuron.NonSpikingLIFNode(tau=2.0, decode="mean-mem")

    def forward(self, frames: Tensor) -> Tensor:
        potentials: Tensor = self.readout(self.head(self.features(frames)))
        return potentials


class StepByStep(nn.Module):
    """A network in single-step mode, in a loop of the user's own that counts the spikes of its outputs."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        values = spec.input.channels * spec.input.height * spec.input.width
        self.net = nn.Sequential(
            layer.Flatten(),
            layer.Linear(values, 24, bias=False),
            leaky(),
            layer.Linear(24, spec.input.classes, bias=False),
            leaky(),
        )

    def forward(self, x: Tensor) -> Tensor:
        counts = torch.zeros((), device=x.device)
        for _ in range(STEPS):
            counts = counts + self.net(x)
        return counts / STEPS


def sew(spec: ModelSpec) -> nn.Module:
    """Return SpikingJelly's SEW-ResNet with one block in each of its four stages."""
    return Repeated(
        sew_resnet.SEWResNet(
            sew_resnet.BasicBlock,
            [1, 1, 1, 1],
            num_classes=spec.input.classes,
            cnf="ADD",
            spiking_neuron=neuron.IFNode,
            surrogate_function=surrogate.ATan(),
            detach_reset=True,
        )
    )
