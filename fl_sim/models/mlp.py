"""A network with one hidden layer."""

from __future__ import annotations

import math

from torch import Tensor, nn

from fl_sim.specs import ModelSpec


def layers(spec: ModelSpec) -> tuple[nn.Module, nn.Linear]:
    """Return the layer from flattened pixels to `spec.hidden` units, and the head that follows it."""
    into = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(spec.input.frame), spec.hidden))
    return into, nn.Linear(spec.hidden, spec.input.classes)


class MLP(nn.Module):
    """A network with one hidden layer of `ModelSpec.hidden` sigmoids, 3000 by default.

    Reads (N, C, H, W) and returns logits (N, classes). It has 2,385,010 parameters on 28x28x1 with 10 classes and
    31,035,040 on 112x92x1 with 40. The source initialises them with torch's defaults (`ModelSpec.init` "torch").

    Source: Poursiami, Alouani and Parsa, "BrainLeaks", 2024, section 4.1; the topology is that of Fredrikson, Jha and
    Ristenpart, CCS 2015.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        into, head = layers(spec)
        self.body = nn.Sequential(into, nn.Sigmoid())
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) for inputs (N, C, H, W)."""
        logits: Tensor = self.head(self.body(inputs))
        return logits
