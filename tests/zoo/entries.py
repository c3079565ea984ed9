"""An entry of the zoo, and the inputs that most entries read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from fl_sim.client_training import ClientTraining
from fl_sim.models import ModelEntry
from fl_sim.specs import InputSpec, ModelSpec, SpikingSpec

Builder = Callable[[ModelSpec], nn.Module]

GREY = InputSpec(channels=1, height=12, width=12, classes=4)
COLOUR = InputSpec(channels=3, height=16, width=16, classes=5)
CIFAR = InputSpec(channels=3, height=32, width=32, classes=10)
ROWS = InputSpec(channels=1, height=1, width=10, classes=3, low=-1.0, high=1.0)
"""One row of a table with 10 columns."""

SIGNAL = InputSpec(channels=1, height=1, width=24, classes=3, low=-1.0, high=1.0)
EVENTS = InputSpec(channels=2, height=8, width=8, classes=3, timesteps=4)
WORDS = 20
"""Size of the vocabulary; token 0 is padding."""

TEXT = InputSpec(channels=1, height=7, width=WORDS, classes=3, vocabulary=WORDS)

TRAIN, EVAL = ClientTraining(mode="train"), ClientTraining(mode="eval")


@dataclass(frozen=True)
class ZooEntry:
    """A network as people write it, and the client that trains it.

    Attributes:
        name: its name in the zoo, which a table of models may hold too.
        builder: ModelSpec -> nn.Module, or its import path.
        input: specification of its input.
        training: how its client trains it.
        spiking: whether it has spiking neurons.
        batch: number of examples of its client.
        settings: `ModelSpec.spiking` of a model of our own.
        needs: package that only the tests install.
        once: the operation without a second derivative in torch for which its gradient cannot be differentiated, in the
            client's mode and on the CPU, other than in `tests.zoo.derivatives.second_derivatives`.
        still: names of parameters whose gradient is zero at the start, with * as in file names, separated by spaces.
    """

    name: str
    builder: Builder | str
    input: InputSpec
    training: ClientTraining = TRAIN
    spiking: bool = False
    batch: int = 2
    settings: SpikingSpec | None = None
    needs: str = ""
    once: str = ""
    still: str = ""

    @property
    def spec(self) -> ModelSpec:
        """Return the specification from which the builder builds."""
        return ModelSpec(self.name, self.input, init="torch", spiking=self.settings)

    @property
    def model(self) -> ModelEntry:
        """Return the line of a table of models."""
        return ModelEntry(self.builder, spiking=self.spiking, summary=f"{self.name} of the tests' zoo")
