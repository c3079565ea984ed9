"""Weights as other programs name and store them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeGuard

import safetensors.torch
import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset
from fl_sim.errors import DataError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec, TrainedModel
from fl_sim.training import accuracy

WRAPPERS = ("module", "_module", "_orig_mod")
"""What wrappers put before the names of a model: DataParallel and DistributedDataParallel, Opacus, torch.compile."""

_EXPECTED = (
    "weights as torch.save(model.state_dict(), 'weights.pt') or safetensors.torch.save_file(model.state_dict(), "
    "'weights.safetensors') writes them"
)
_MOST_NAMED = 6
_LONGEST = 200
_AT_ONCE = 500


def strip_common_prefix(names: Iterable[str], expected: Collection[str] = ()) -> tuple[str, list[str]]:
    """Return the prefix that a wrapper has put before all names, and the names without it, in their order.

    A prefix is whole parts of a name with their dots, such as "module." or "module._orig_mod.". It is "" if the names
    are as they should be.

    Args:
        names: names of parameters.
        expected: names that the model has. Any common prefix is then considered, and the shortest is taken of those
            with which most of the expected names are there. Without them only the names in `WRAPPERS` are taken off,
            because the parameters of a model with one submodule also share a prefix.
    """
    found = list(names)
    parts = [name.split(".")[:-1] for name in found]
    prefixes = [""]
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or not (expected or level[0] in WRAPPERS):
            break
        prefixes.append(f"{prefixes[-1]}{level[0]}.")
    known = set(expected)
    # The first of several that are equally good is the shortest.
    best = max(prefixes, key=lambda prefix: len(known & set(_without(found, prefix)))) if known else prefixes[-1]
    return best, _without(found, best)


def _without(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of weights by name: a state_dict written by torch.save, or a safetensors file.

    Of a checkpoint, a dictionary of several things, it is the only state_dict in it. Nothing is ever unpickled but
    tensors and plain containers.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a file of weights, found no such file.")
    with path.open("rb") as stream:
        begins = stream.read(9)
    try:
        # A safetensors file begins with the length of its header, in eight bytes, and the header is JSON.
        content = safetensors.torch.load_file(path) if begins[8:] == b"{" else _load_plain(path)
    except Exception as error:  # on a damaged file, the libraries raise whatever their parsers run into
        raise DataError(f"{path}: {_unreadable(error)}.") from error
    found = [content] if _is_state(content) else [one for one in _values(content) if _is_state(one)]
    if len(found) != 1:
        raise DataError(f"{path}: expected {_EXPECTED}; found {_described(content, len(found))}.")
    return dict(found[0])


def fitted(path: Path, spec: ModelSpec) -> tuple[str, TrainedModel]:
    """Return a file of weights as a trained model of a spec, and the prefix that its names had.

    The test accuracy is NaN, since the file does not say it.

    Args:
        path: as in `read_weights`.
        spec: the model that the weights are of.

    Raises:
        DataError: the file cannot be read, or is not of this model: a name or shape differs.
    """
    weights = read_weights(path)
    with torch.random.fork_rng(devices=[]):  # initial parameters are drawn and then replaced
        expected = build_model(spec).state_dict()
    prefix, names = strip_common_prefix(weights, expected)
    found = dict(zip(names, weights.values(), strict=True))
    whose = f"{path}: expected the weights of a '{spec.architecture}' with the settings given"
    for name, tensor in expected.items():
        if name not in found:
            raise DataError(f"{whose}, '{name}' among them; found {listed(found)}.")
        if found[name].shape != tensor.shape:
            shapes = f"of shape {tuple(tensor.shape)}; found {tuple(found[name].shape)}"
            raise DataError(f"{whose}, '{name}' {shapes}.")
    if unknown := [name for name in names if name not in expected]:
        raise DataError(f"{whose}, which has no '{unknown[0]}'; found {listed(found)}.")
    return prefix, TrainedModel(spec, found, test_accuracy=math.nan, round=0, seed=0)


@torch.no_grad()
def measured(model: TrainedModel, data: Dataset) -> TrainedModel:
    """Return a model with its accuracy on the test split of a data set; the inputs are scaled to the model's range."""
    module = build_model(model.model).eval()
    module.load_state_dict(dict(model.parameters))
    ours, theirs = model.model.input, data.spec
    scale = (ours.high - ours.low) / (theirs.high - theirs.low)
    right = 0.0
    for start in range(0, len(data.test), _AT_ONCE):
        inputs, labels = data.test.batch(slice(start, start + _AT_ONCE))
        right += len(labels) * accuracy(module, ours.low + scale * (inputs - theirs.low), labels)
    return dataclasses.replace(model, test_accuracy=right / len(data.test))


def _unreadable(error: Exception) -> str:
    """Return why a file could not be read, and which could."""
    reason = " ".join(str(error).split())
    if "weights only" in reason.lower() or "weights_only" in reason:
        return (
            "expected weights alone, found a whole model or other Python objects, which may run any program when they "
            "are read; save the weights by torch.save(model.state_dict(), 'weights.pt')"
        )
    return f"expected {_EXPECTED}; it is damaged or something else ({type(error).__name__}: {reason[:_LONGEST]})"


def _load_plain(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_state(content: object) -> TypeGuard[Mapping[str, Tensor]]:
    """Return whether something is a state_dict: a mapping from names to tensors that is not empty."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items())
    )


def _values(content: object) -> Iterable[object]:
    return content.values() if isinstance(content, Mapping) else ()


def _described(content: object, states: int) -> str:
    """Return what a file holds that is not one state_dict."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys = ", ".join(repr(key) for key in list(content)[:_MOST_NAMED])
    return f"{states or 'no'} state_dict{'s' if states else ''} in a dictionary of {keys or 'nothing'}"


def listed(tensors: Mapping[str, Tensor]) -> str:
    """Return names and shapes for an error message, the first few of them."""
    first = [f"'{name}' {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:_MOST_NAMED]]
    more = len(tensors) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
