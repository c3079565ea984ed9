"""A spiking network on norse, whose import compiles functions in a way that torch calls deprecated."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.specs import ModelSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    import norse.torch as norse

STEPS = 16


class Convolutional(nn.Module):
    """The network of norse's tutorial on MNIST at a small size: a constant current, LIF cells, a leaky integrator."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        side = ((spec.input.height - 2) // 2 - 2) // 2
        self.encoder = norse.ConstantCurrentLIFEncoder(STEPS)
        self.conv1 = nn.Conv2d(spec.input.channels, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.fc1 = nn.Linear(16 * side * side, 24)
        parameters = norse.LIFParameters(method="super", alpha=torch.tensor(100.0))
        self.lif1, self.lif2, self.lif3 = (norse.LIFCell(p=parameters) for _ in range(3))
        self.out = norse.LILinearCell(24, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        first = second = third = last = None
        voltages = []
        for spikes in self.encoder(5.0 * x):
            z, first = self.lif1(5.0 * self.conv1(spikes), first)
            z, second = self.lif2(10.0 * self.conv2(F.max_pool2d(z, 2)), second)
            z, third = self.lif3(10.0 * self.fc1(F.max_pool2d(z, 2).flatten(1)), third)
            voltage, last = self.out(F.relu(z), last)
            voltages.append(voltage)
        return F.log_softmax(torch.stack(voltages).max(0).values, dim=1)
