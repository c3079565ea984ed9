"""What the layers of a module say about its inputs, where the user does not say it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

USUAL_SIDES = (28, 32, 64, 96, 128, 224)
"""Sides of square pictures that are tried."""

A_ROW = "a row of numbers"
"""Why an input has one channel and the height 1."""

Inferred = dict[str, tuple[int, str]]
"""{field of an InputSpec: its value, and what it follows from in words}."""


def inferred(module: nn.Module, known: Mapping[str, int]) -> Inferred:
    """Return channels, height, width and classes, as far as they are not known and the module's layers say them.

    Layers count in the order in which they are registered. A side that no layer says is one of `USUAL_SIDES`, if the
    module takes inputs of exactly one of them. Of texts, whose vocabulary must be known, the length is never inferred.

    Args:
        module: the model.
        known: fields of the InputSpec that the user states.
    """
    layers = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear | _ConvNd)]
    if not layers:
        return {}
    found = _of_outputs(*layers[-1])
    if known.get("vocabulary"):
        return {key: value for key, value in found.items() if key not in known}
    found |= _of_first(*layers[0], known)
    found = {key: value for key, value in found.items() if key not in known}
    if {"height", "width"} & {*known, *found} or isinstance(layers[0][1], nn.Linear):
        return found
    channels = known.get("channels", found.get("channels", (0, ""))[0])
    sides = [side for side in USUAL_SIDES if channels and _takes(module, channels, side)]
    if len(sides) == 1:
        why = f"of the usual sides {', '.join(map(str, USUAL_SIDES))} it takes this one only"
        found |= {"height": (sides[0], why), "width": (sides[0], why)}
    return found


def _of_outputs(name: str, layer: nn.Module) -> Inferred:
    """Return the classes that the last layer says."""
    count = layer.out_features if isinstance(layer, nn.Linear) else getattr(layer, "out_channels", 0)
    return {"classes": (count, f"outputs of the last layer, '{name}' ({type(layer).__name__})")}


def _of_first(name: str, layer: nn.Module, known: Mapping[str, int]) -> Inferred:
    """Return what the first layer says of the shape of an input."""
    words = f"inputs of the first layer, '{name}' ({type(layer).__name__})"
    if isinstance(layer, nn.Conv2d):
        return {"channels": (layer.in_channels, words)}
    if not isinstance(layer, nn.Linear):
        return {}
    if not {"channels", "height", "width"} & known.keys():
        return {"channels": (1, A_ROW), "height": (1, A_ROW),
                "width": (layer.in_features, words)}  # fmt: skip
    missing = [key for key in ("channels", "height", "width") if key not in known]
    others = 1
    for key in ("channels", "height", "width"):
        others *= known.get(key, 1)
    whole = len(missing) == 1 and layer.in_features % others == 0
    return {missing[0]: (layer.in_features // others, words)} if whole else {}


def _takes(module: nn.Module, channels: int, side: int) -> bool:
    """Return whether a module takes pictures of a side."""
    was = module.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.eval()(torch.zeros(1, channels, side, side))
    except Exception:  # noqa: BLE001 - a user's module may fail in any way
        return False
    finally:
        module.train(was)
    return True
