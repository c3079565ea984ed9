"""Spiking networks on snnTorch."""

from __future__ import annotations

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from fl_sim.specs import ModelSpec

STEPS = 5


class Loop(nn.Module):
    """The network of snnTorch's fifth tutorial: the state of the neurons is passed along in a loop."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        values = spec.input.channels * spec.input.height * spec.input.width
        self.fc1 = nn.Linear(values, 24)
        self.lif1 = snntorch.Leaky(beta=0.95)
        self.fc2 = nn.Linear(24, spec.input.classes)
        self.lif2 = snntorch.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> Tensor:
        first, second, potentials = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for _ in range(STEPS):
            spikes, first = self.lif1(self.fc1(x.flatten(1)), first)
            _, second = self.lif2(self.fc2(spikes), second)
            potentials.append(second)
        return torch.stack(potentials).mean(0)


class Hidden(nn.Module):
    """The network of the sixth tutorial: the neurons keep their state, and only the training loop resets it."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        gradient = surrogate.fast_sigmoid(slope=25)
        side = ((spec.input.height - 4) // 2 - 2) // 2
        self.net = nn.Sequential(
            nn.Conv2d(spec.input.channels, 12, 5),
            nn.MaxPool2d(2),
            snntorch.Leaky(beta=0.5, spike_grad=gradient, init_hidden=True, threshold=0.3),
            nn.Conv2d(12, 16, 3),
            nn.MaxPool2d(2),
            snntorch.Leaky(beta=0.5, spike_grad=gradient, init_hidden=True, threshold=0.1, learn_threshold=True),
            nn.Flatten(),
            nn.Linear(16 * side * side, spec.input.classes),
            snntorch.Leaky(beta=0.5, spike_grad=gradient, init_hidden=True, learn_beta=True, output=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.net(x)[1] for _ in range(STEPS)]).mean(0)
