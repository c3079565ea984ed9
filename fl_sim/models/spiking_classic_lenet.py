"""The spiking twin of the classic LeNet."""

from __future__ import annotations

from torch import nn

from fl_sim.models.classic_lenet import synapses
from fl_sim.models.spiking_lenet import SpikingTwin
from fl_sim.specs import ModelSpec


class SpikingClassicLeNet(SpikingTwin):
    """The classic LeNet with spiking neurons in place of sigmoids, run over T steps.

    It has the same parameters as `ClassicLeNet`, by name and shape. Max-pooling passes on a spike if any of its four
    neurons fires.

    Raises:
        ConfigError: the spec has no spiking settings, or a side of the input is smaller than 16 pixels.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, synapses(spec.input), nn.Linear(84, spec.input.classes))
