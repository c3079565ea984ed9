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
    """Return 1 - cosine of two updates, or the mean over their tensors; 1 where one of them is 0.

    Args:
        found, wanted: {name: tensor}, of the same names.
        summed: sum over the entries of a tensor, except perhaps over an axis of clients.
        by_layer: whether each tensor has its own cosine. Those whose wanted value is 0 are left out.
    """
    products = torch.stack([summed(found[name] * wanted[name]) for name in wanted])
    ours = torch.stack([summed(found[name].square()) for name in wanted])
    theirs = torch.stack([summed(wanted[name].square()) for name in wanted])
    if not by_layer:
        return 1.0 - products.sum(0) / (ours.sum(0) * theirs.sum(0)).clamp(min=_LEAST).sqrt()
    known = theirs > 0
    distances = torch.where(known, 1.0 - products / (ours * theirs).clamp(min=_LEAST).sqrt(), 0.0)
    return distances.sum(0) / known.sum(0).clamp(min=1)
