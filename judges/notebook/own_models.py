"""A model that the caller holds: its place in the table of models, and what its inputs look like."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attacks.preflight.inputs import inferred
from fl_sim.client_steps import reset_state
from fl_sim.config import ModelSettings, validate
from fl_sim.errors import ConfigError, own_line
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.specs import InputSpec, ModelSpec

Model = str | Mapping[str, Any] | nn.Module
"""A module; or a model of the table, by its name or as the settings of [model] in a config."""

_DIGITS = 6


class _Copies:
    """A builder that returns a copy of a module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, _: ModelSpec) -> nn.Module:
        return copy.deepcopy(self.module)


def built(model: Model, spec: InputSpec, *, seed: int) -> tuple[ModelSpec, nn.Module]:
    """Return the spec of a model and a copy of it on the CPU; one of the table is drawn from the seed.

    A module is added to the table of models of this process, under the name of its class and a hash of its content.

    Raises:
        ConfigError: a name or setting is not known, or the model cannot be built or copied.
    """
    if isinstance(model, nn.Module):
        module = _copied(model)
        return ModelSpec(_registered(module), spec, init="torch"), module
    try:
        settings = validate(ModelSettings, {"name": model} if isinstance(model, str) else dict(model))
    except ConfigError as error:
        raise ConfigError(f"model.{error}") from error
    found = settings.spec(spec)
    return found, build_model(found, seed=seed)


def classes_of(model: Model, inputs: Tensor, labels: Tensor, classes: int) -> int:
    """Return the number of classes: as given, else as many as the module returns.

    Raises:
        ConfigError: it is no model, a label is beyond the classes, the module fails on the inputs, or a model of the
            table is to be built for a number of classes that is not given.
    """
    if not isinstance(model, nn.Module | str | Mapping):
        raise ConfigError(
            f"model: expected a torch.nn.Module, or the name or settings of a model of the table, got {model!r:.100}."
        )
    if not classes and not isinstance(model, nn.Module):
        raise ConfigError("classes: a model of the table is built for a number of classes; say classes=10, or so.")
    count = classes or (_outputs(model, inputs) if isinstance(model, nn.Module) else 0)
    if int(labels.min()) < 0 or (count > 1 and int(labels.max()) >= count):
        raise ConfigError(
            f"labels: expected whole numbers from 0 to {count - 1}, one for each of the {count} classes of the model, "
            f"got {int(labels.min())} to {int(labels.max())}; say classes=... if there are more."
        )
    return count


def input_of(module: nn.Module, shape: tuple[int, ...] | None, low: float, high: float) -> InputSpec:
    """Return the spec of a module's inputs, where `shape` (C, H, W) or else its layers say it.

    Raises:
        ConfigError: neither says it.
    """
    known = dict(zip(("channels", "height", "width"), shape or (), strict=shape is not None))
    found = {key: value for key, (value, _) in inferred(module, known).items()} | known
    missing = [key for key in ("channels", "height", "width", "classes") if key not in found]
    if missing:
        raise ConfigError(
            f"shape: the model's layers do not say the {' and the '.join(missing)} of its inputs; say "
            "shape=(CHANNELS, HEIGHT, WIDTH)."
        )
    return InputSpec(**found, low=low, high=high)


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy of a module on the CPU."""
    reset_state(model)
    try:
        return copy.deepcopy(model).cpu()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"model: its {type(model).__name__} cannot be copied: {error}{own_line(error)}") from error


def _registered(module: nn.Module) -> str:
    """Add a module to the table of models, unless it is there, and return its name."""
    content = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        content.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        content.update(value.detach().flatten().view(torch.uint8).numpy().tobytes())
    name = plain = f"{type(module).__name__}-{content.hexdigest()[:_DIGITS]}"
    number = 1
    while name in MODELS and not _is(MODELS[name], module):  # the same numbers under other code
        number += 1
        name = f"{plain}-{number}"
    MODELS[name] = ModelEntry(_Copies(module), spiking=False, summary="a model of the user's own")
    return name


def _is(entry: ModelEntry, module: nn.Module) -> bool:
    return isinstance(entry.builder, _Copies) and type(entry.builder.module) is type(module)


def _outputs(module: nn.Module, inputs: Tensor) -> int:
    """Return how many numbers a module returns for an example."""
    copied = _copied(module).eval()
    one = inputs[:, :1] if inputs.dim() == 5 else inputs[:1]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs = copied(one)
    except Exception as error:
        raise ConfigError(
            f"model: it fails on inputs of shape {tuple(one.shape)}: {type(error).__name__}: {error}{own_line(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ConfigError(
            f"model: it returns a {type(outputs).__name__}, so say how many classes there are: classes=..."
        )
    return int(outputs.shape[-1]) if outputs.dim() > 1 else 1
