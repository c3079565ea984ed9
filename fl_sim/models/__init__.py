"""The models of the clients: a table name -> builder. Importing this does not import torch.

Models of other packages join by the entry point `spikeleak.models`, see `fl_sim.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_sim.errors import unknown_name
from fl_sim.plugins import Table, located, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from torch import nn

    from fl_sim.specs import ModelSpec


@dataclass(frozen=True)
class ModelEntry:
    """A line of the table of models.

    Attributes:
        builder: a callable `ModelSpec -> nn.Module`, or where to import it from ("package.module:name").
        spiking: whether it reads `ModelSpec.spiking`.
        summary: one line for `spikeleak list models`.
    """

    builder: str | Callable[[ModelSpec], nn.Module]
    spiking: bool
    summary: str

    def __post_init__(self) -> None:
        """Refuse what is no such entry, where it is written and not where it is used."""
        refuse_place(self, "builder")
        refuse_text(self, "summary")
        refuse_switch(self, "spiking")


_OWN = {
    "lenet": ModelEntry(
        "fl_sim.models.lenet:LeNet", spiking=False, summary="DLG's LeNet: three strided 5x5 convolutions, sigmoid"
    ),
    "spiking_lenet": ModelEntry(
        "fl_sim.models.spiking_lenet:SpikingLeNet",
        spiking=True,
        summary="its spiking twin: the same layers with IF or LIF neurons over T steps",
    ),
    "classic_lenet": ModelEntry(
        "fl_sim.models.classic_lenet:ClassicLeNet",
        spiking=False,
        summary="the 6-16-120-84 LeNet that GRNN attacks: sigmoid, max-pooling",
    ),
    "spiking_classic_lenet": ModelEntry(
        "fl_sim.models.spiking_classic_lenet:SpikingClassicLeNet",
        spiking=True,
        summary="its spiking twin: the same layers with IF or LIF neurons over T steps",
    ),
    "mlp": ModelEntry(
        "fl_sim.models.mlp:MLP", spiking=False, summary="one hidden layer of 3000 sigmoids, which MI-Face inverts"
    ),
    "spiking_mlp": ModelEntry(
        "fl_sim.models.spiking_mlp:SpikingMLP",
        spiking=True,
        summary="its spiking twin, which BrainLeaks inverts: IF or LIF neurons over T steps",
    ),
}
MODELS = Table("spikeleak.models", ModelEntry, _OWN)


def build_model(spec: ModelSpec, *, seed: int | None = None) -> nn.Module:
    """Return the model that `spec` describes.

    Args:
        spec: architecture, input and settings.
        seed: draws the parameters by `spec.init` from this seed; None leaves them as torch drew them, for callers
            that load parameters next.

    Raises:
        ConfigError: `spec.architecture` or `spec.init` is not known, or the builder does not import.
    """
    from fl_sim.models.initialisation import initialise

    if spec.architecture not in MODELS:
        raise unknown_name("model.name", spec.architecture, MODELS)
    model: nn.Module = located(MODELS[spec.architecture].builder, f"model '{spec.architecture}'")(spec)
    if seed is not None:
        initialise(model, spec.init, seed=seed)
    return model
