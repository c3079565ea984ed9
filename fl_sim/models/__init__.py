"""The models of the clients: a table name -> builder. Importing this does not import torch.

Other packages add models by the entry point `spikeleak.models`; see `fl_sim.plugins`.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_sim.errors import ConfigError, DataError, SpikeleakError, lack_of_memory, own_line, unknown_name
from fl_sim.plugins import Table, located, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fl_sim.specs import ModelSpec


@dataclass(frozen=True)
class ModelEntry:
    """A line of the table of models.

    Attributes:
        builder: a callable `ModelSpec -> nn.Module`, or its import path ("package.module:name").
        spiking: whether the builder uses `ModelSpec.spiking`.
        summary: one line for `spikeleak list models`.
        family: what it shares with its spiking twin: the name of the one that does not spike; "" for its own name.
    """

    builder: str | Callable[[ModelSpec], nn.Module]
    spiking: bool
    summary: str
    family: str = ""

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
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
"""Maximum size of an input or layer in a spec; used only for models whose parameters cannot be counted in advance."""
_BYTES = 4  # size of a parameter, which is drawn in float32


def build_model(
    spec: ModelSpec,
    *,
    seed: int | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    partly: bool = False,
) -> nn.Module:
    """Return the model that `spec` describes.

    A spec of a few bytes may describe a layer of terabytes, which is rejected before anything of that size is
    allocated.

    Args:
        spec: architecture, input and settings.
        seed: draws the parameters by `spec.init` from this seed; None leaves them as torch drew them, for callers
            that load parameters next.
        parameters: {name: tensor} in the same record as `spec`, checked against the model's parameters.
        partly: whether `parameters` may lack some, as where clients share a part of their model; the others are the
            builder's.

    Raises:
        ConfigError: `spec.architecture` or `spec.init` is not known, the builder cannot be imported or fails, or the
            model does not fit into this machine's memory.
        DataError: `parameters` lacks one of the model's parameters, or has one of another shape.
    """
    from fl_sim.models.initialisation import initialise

    if spec.architecture not in MODELS:
        raise unknown_name("model.name", spec.architecture, MODELS, addable=True)
    builder = located(MODELS[spec.architecture].builder, f"model '{spec.architecture}'")
    shapes = _shapes(builder, spec)
    if parameters is not None and shapes is not None:
        shared = {name: shape for name, shape in shapes.items() if not partly or name in parameters}
        _check_parameters(spec, shared, parameters)
    _check_size(spec, shapes)
    model = _built(builder, spec)
    if seed is not None:
        initialise(model, spec.init, seed=seed)
    return model


def _built(builder: Callable[[ModelSpec], nn.Module], spec: ModelSpec) -> nn.Module:
    """Return what a builder builds; if it fails, the ConfigError names the line of its author's code."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    try:
        model = builder(spec)
    except SpikeleakError:
        raise
    except Exception as error:
        if lack_of_memory(error):
            raise
        raise ConfigError(
            f"model '{spec.architecture}': its own code fails when it is built: {type(error).__name__}: {error}"
            f"{own_line(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model '{spec.architecture}': its builder must return a torch module, not {model!r:.100}.")
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ConfigError(
            f"model '{spec.architecture}': {lazy[0]} has no shape before a first forward pass; let the builder make "
            "one on zeros of the shape of its inputs, without gradients."
        )
    return model


@functools.lru_cache(maxsize=32)  # a run has a few specs and thousands of records per spec
def _shapes(builder: Callable[[ModelSpec], nn.Module], spec: ModelSpec) -> Mapping[str, tuple[int, ...]] | None:
    """Return {name: shape} of a model's parameters without allocating them; None if it cannot be built on "meta"."""
    import torch

    try:
        with torch.device("meta"):
            return {name: tuple(parameter.shape) for name, parameter in builder(spec).named_parameters()}
    # The builder reads values that it has drawn, or its sizes overflow; its own mistakes recur when the model is built.
    except Exception:  # noqa: BLE001 - a plugin's builder may raise anything
        return None


def _check_parameters(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Tensor]) -> None:
    """Raise DataError if parameters are not those of a model."""
    for name, shape in shapes.items():
        found = tuple(parameters[name].shape) if name in parameters else "none"
        if found != shape:
            raise DataError(
                f"model: expected the parameters of a '{spec.architecture}', {name} of shape {shape}; found {found}."
            )


def _check_size(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
    """Raise ConfigError if a model is larger than the memory or, if its shapes are unknown, if its sizes are absurd."""
    if shapes is None:
        sizes = math.prod(spec.input.frame), spec.input.classes, spec.hidden
        if max(sizes) > MOST_UNITS:
            raise ConfigError(
                f"model: expected a '{spec.architecture}' with sizes of at most {MOST_UNITS:,}, found {sizes[0]:,} "
                f"values per input, {sizes[1]:,} classes and {sizes[2]:,} hidden units."
            )
        return
    needed, memory = _BYTES * sum(map(math.prod, shapes.values())), _memory()
    if needed > memory:
        raise ConfigError(
            f"model: expected a '{spec.architecture}' whose parameters fit into {memory:,} bytes, the memory of this "
            f"machine, found one with {needed:,} bytes of parameters."
        )


def _memory() -> int:
    """Return the memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
