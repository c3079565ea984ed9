"""How the difference of two updates is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Measure = Literal["squared", "weighted", "cosine", "layer_cosine"]
"""How far two updates are apart. "squared": the sum of squared differences. "weighted": the same with the term of each
tensor divided by its norm, relative to that of the update. "cosine": 1 - cosine of the whole updates (Geiping et al.
2020, eq. 4). "layer_cosine": the mean of 1 - cosine over the tensors."""

_LEAST = 1e-30


def cosine_distance(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], summed: Callable[[Tensor], Tensor], *, by_layer: bool
) -> Tensor:
    """Return 1 - cosine of two updates, or the mean over their tensors; 1/2 where one of them is 0.

    It is half the squared distance of the updates divided by their norms, which float32 resolves near 0.

    Args:
        found, wanted: {name: tensor}, of the same names.
        summed: sum over the entries of a tensor, except perhaps over an axis of clients.
        by_layer: whether each tensor has its own cosine. Those whose wanted value is 0 are left out.
    """
    ours, theirs = ({name: summed(one[name].square()) for name in wanted} for one in (found, wanted))
    if not by_layer:
        ours, theirs = (dict.fromkeys(wanted, torch.stack(list(one.values())).sum(0)) for one in (ours, theirs))
    distances = []
    for name, target in wanted.items():
        own, other = (_like(one[name].clamp(min=_LEAST).rsqrt(), target) for one in (ours, theirs))
        distances.append(0.5 * summed((own * found[name] - other * target).square()))
    if not by_layer:
        return torch.stack(distances).sum(0)
    known = torch.stack([theirs[name] > 0 for name in wanted])
    return torch.where(known, torch.stack(distances), 0.0).sum(0) / known.sum(0).clamp(min=1)


def _like(value: Tensor, tensor: Tensor) -> Tensor:
    """Return a number, or (V,), so that it multiplies a tensor, or (V, ...)."""
    return value.view(-1, *(1,) * (tensor.dim() - 1)) if value.dim() else value
