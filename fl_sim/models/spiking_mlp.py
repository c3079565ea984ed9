"""The spiking twin of the network with one hidden layer."""

from __future__ import annotations

from fl_sim.models.mlp import layers
from fl_sim.models.spiking_lenet import SpikingTwin
from fl_sim.specs import ModelSpec


class SpikingMLP(SpikingTwin):
    """`MLP` with spiking neurons in place of sigmoids, run over T steps.

    It has the same parameters as `MLP`, by name and shape. The T inputs are multiplied by the weights in one product.
    With `fl_sim.specs.BRAINLEAKS_NEURONS` it is the target of BrainLeaks: LIF neurons after both layers, with the
    potential of the output layer before its reset as the readout.

    Source: Poursiami, Alouani and Parsa, "BrainLeaks", 2024, section 4.1, and their published code.

    Raises:
        ConfigError: the spec has no spiking settings.
    """

    def __init__(self, spec: ModelSpec) -> None:
        into, head = layers(spec)
        super().__init__(spec, [into], head)
