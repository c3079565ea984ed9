"""The models of the clients: a table name -> builder. Importing this does not import torch.

Models of other packages join by the entry point `spikeleak.models`, see `fl_sim.plugins`.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_sim.errors import ConfigError, DataError, unknown_name
from fl_sim.plugins import Table, located, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fl_sim.specs import ModelSpec


@dataclass(frozen=True)
class ModelEntry:
    """A line of the table of models.

    Attributes:
        builder: a callable `ModelSpec -> nn.Module`, or where to import it from ("package.module:name").
        spiking: whether it reads `ModelSpec.spiking`.
        summary: one line for `spikeleak list models`.
        family: what it shares with its spiking twin: the name of the one that does not spike; "" for its own name.
    """

    builder: str | Callable[[ModelSpec], nn.Module]
    spiking: bool
    summary: str
    family: str = ""

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
        family="lenet",
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
        family="classic_lenet",
    ),
    "mlp": ModelEntry(
        "fl_sim.models.mlp:MLP", spiking=False, summary="one hidden layer of 3000 sigmoids, which MI-Face inverts"
    ),
    "spiking_mlp": ModelEntry(
        "fl_sim.models.spiking_mlp:SpikingMLP",
        spiking=True,
        summary="its spiking twin, which BrainLeaks inverts: IF or LIF neurons over T steps",
        family="mlp",
    ),
}
MODELS = Table("spikeleak.models", ModelEntry, _OWN)

MOST_UNITS = 2**24
"""Of an input, or of a layer that a spec tells of; asked only of models whose parameters cannot be counted first."""
_BYTES = 4  # of a parameter as it is drawn


def build_model(
    spec: ModelSpec, *, seed: int | None = None, parameters: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Return the model that `spec` describes.

    A spec of some bytes may tell of a layer of terabytes. It is refused before anything of that size is allocated.

    Args:
        spec: architecture, input and settings.
        seed: draws the parameters by `spec.init` from this seed; None leaves them as torch drew them, for callers
            that load parameters next.
        parameters: {name: tensor} that a record holds beside `spec`, which have to be those of the model.

    Raises:
        ConfigError: `spec.architecture` or `spec.init` is not known, the builder does not import, or the model is
            larger than this machine's memory.
        DataError: `parameters` lack one of the model's, or hold one of another shape.
    """
    from fl_sim.models.initialisation import initialise

    if spec.architecture not in MODELS:
        raise unknown_name("model.name", spec.architecture, MODELS)
    builder = located(MODELS[spec.architecture].builder, f"model '{spec.architecture}'")
    shapes = _shapes(builder, spec)
    if parameters is not None and shapes is not None:
        _refuse_misfit(spec, shapes, parameters)
    _refuse_giant(spec, shapes)
    model: nn.Module = builder(spec)
    if seed is not None:
        initialise(model, spec.init, seed=seed)
    return model


@functools.lru_cache(maxsize=32)  # a run has a few specs and thousands of records of each
def _shapes(builder: Callable[[ModelSpec], nn.Module], spec: ModelSpec) -> Mapping[str, tuple[int, ...]] | None:
    """Return {name: shape} of a model's parameters, none of which is allocated; None where it cannot be built so."""
    import torch

    try:
        with torch.device("meta"):
            return {name: tuple(parameter.shape) for name, parameter in builder(spec).named_parameters()}
    # It reads the values it has drawn, or its sizes are beyond all numbers; whatever else is wrong with it is told
    # where it is built.
    except Exception:  # noqa: BLE001 - a plugin's builder may raise anything
        return None


def _refuse_misfit(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Tensor]) -> None:
    """Raise DataError where parameters are not those of a model."""
    for name, shape in shapes.items():
        found = tuple(parameters[name].shape) if name in parameters else "none"
        if found != shape:
            raise DataError(
                f"model: expected the parameters of the '{spec.architecture}' that goes with them, {name} of shape "
                f"{shape}; found {found}."
            )


def _refuse_giant(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
    """Raise ConfigError where a model is larger than the memory; one of unknown shapes, where its sizes are absurd."""
    if shapes is None:
        sizes = math.prod(spec.input.frame), spec.input.classes, spec.hidden
        if max(sizes) > MOST_UNITS:
            raise ConfigError(
                f"model: expected sizes of a '{spec.architecture}' of at most {MOST_UNITS:,}, found {sizes[0]:,} "
                f"values of an input, {sizes[1]:,} classes and {sizes[2]:,} hidden units."
            )
        return
    needed, memory = _BYTES * sum(map(math.prod, shapes.values())), _memory()
    if needed > memory:
        raise ConfigError(
            f"model: expected a '{spec.architecture}' whose parameters fit into {memory:,} bytes, the memory of this "
            f"machine, found one with {needed:,} bytes of them."
        )


def _memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
