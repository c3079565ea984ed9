"""A model of the user's own for the command `spikeleak check`: "module:name" of a class, a function or a module."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fl_sim.errors import ConfigError, unknown_name
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.specs import InputSpec, ModelSpec
from judges.plans.audit.weights import SIZES, InputSettings

if TYPE_CHECKING:
    from torch import nn

    from attacks.preflight.inputs import Inferred

# Modules that load torch are imported inside the functions that need them.

_TRIED = (
    {"channels": 3, "height": 40, "width": 48, "classes": 7},
    {"channels": 2, "height": 48, "width": 40, "classes": 11},
)
"""Inputs for which a model is built to see what it says of its own: what is the same for both."""


def register(place: str) -> None:
    """Put the model at "module:name" into the table of models of this process, under this place as its name.

    Raises:
        ConfigError: there is no such module or name, or it is no model.
    """
    MODELS[place] = ModelEntry(_builder(place), spiking=False, summary="a model of the user's own")


def input_of(name: str, given: InputSettings) -> tuple[InputSpec, Inferred]:
    """Return the spec of a model's inputs, and what of it was inferred from the model's layers.

    Args:
        name: of the model in the table.
        given: what the user says.

    Raises:
        ConfigError: something is neither said nor follows from the layers; or the model cannot be built.
    """
    known = given.given
    found: Inferred = {}
    if given.timesteps == 0 and not set(SIZES) <= known.keys():
        found = _inferred(name, known)
    values = {**{key: value for key, (value, _) in found.items()}, **known}
    missing = [key for key in SIZES if key not in values]
    if missing:
        said = ", ".join(f"{key} {value}" for key, (value, _) in found.items())
        raise ConfigError(
            f"input: the inputs of '{name}' are not known: no {' and no '.join(missing)}"
            f"{f' (its layers say {said})' if said else ''}. Say what one input looks like: "
            + " ".join(f"--set input.{key}=..." for key in missing)
        )
    return InputSpec(**values), found


class _Fixed:
    """A builder that does not read the spec: a function or class without arguments, or a copy of a module."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._build = build

    def __call__(self, _: ModelSpec) -> nn.Module:
        return self._build()


def _inferred(name: str, known: dict[str, Any]) -> Inferred:
    """Return what the layers of a model say of its inputs; of one that is built for its inputs, nothing."""
    from attacks.preflight.inputs import A_ROW

    fixed = isinstance(MODELS[name].builder, _Fixed)
    try:
        found = [_built_for(name, {**sizes, **known}, known) for sizes in (_TRIED[:1] if fixed else _TRIED)]
    except ConfigError:
        if fixed:
            raise
        return {}
    agreed = {key: value for key, value in found[0].items() if all(other.get(key) == value for other in found)}
    return agreed if "width" in agreed else {key: value for key, value in agreed.items() if value[1] != A_ROW}


def _built_for(name: str, sizes: dict[str, Any], known: dict[str, Any]) -> Inferred:
    """Return what the layers of a model that is built for inputs of these sizes say."""
    import torch

    from attacks.preflight.inputs import inferred

    with torch.random.fork_rng(devices=[]):
        return inferred(build_model(ModelSpec(name, InputSpec(**sizes), init="torch")), known)


def _builder(place: str) -> Callable[[ModelSpec], nn.Module]:
    """Return a builder of the model at "module:name"."""
    from torch import nn

    from judges.bench.process import import_modules

    module_name, _, name = place.partition(":")
    import_modules([module_name], option="")
    module = importlib.import_module(module_name)
    if not hasattr(module, name):
        raise unknown_name(module_name, name, [key for key in vars(module) if not key.startswith("_")])
    found: Any = getattr(module, name)
    if isinstance(found, nn.Module):
        return _Fixed(lambda: copy.deepcopy(found))
    if not callable(found):
        raise ConfigError(f"{place}: expected a torch module, its class, or a function that returns it, got {found!r}.")
    return _calling(place, found)


def _calling(place: str, found: Callable[..., nn.Module]) -> Callable[[ModelSpec], nn.Module]:
    """Return a builder that calls a class or function with a ModelSpec, if it takes one, or without arguments."""
    parameters = list(inspect.signature(found).parameters.values())
    named = [one for one in parameters if one.annotation in (ModelSpec, ModelSpec.__name__)]
    required = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if named and len(required) <= 1:
        return found
    if not required:
        return _Fixed(found)
    if len(required) == 1 and required[0].annotation is required[0].empty:
        return found
    raise ConfigError(
        f"{place}: expected no arguments, or one ModelSpec, but it needs {', '.join(one.name for one in required)}. "
        "Write a function without arguments that returns the model, and name that."
    )
