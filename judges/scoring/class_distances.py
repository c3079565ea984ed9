"""How far the examples of a data set are from each other: the yardstick for the l2 of a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream

_ROWS = 64
"""Examples whose distances to all others are computed at a time."""


@dataclass(frozen=True)
class Spread:
    """Distances of many pairs.

    Attributes:
        pairs: how many; the others are None where there is none.
        mean, std, low, high: of the l2 distances; std is that of the sample.
    """

    pairs: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassDistances:
    """l2 distances of all pairs of distinct examples (arXiv 2511.21181, Table VI).

    Attributes:
        examples: how many were compared.
        intra, inter: pairs of one class, and of two.
        norm: mean l2 norm of an example, which is its distance to the empty recording.
    """

    examples: int
    intra: Spread
    inter: Spread
    norm: float


def class_distances(examples: Examples, most: int, *, seed: int) -> ClassDistances:
    """Return the distances between at most `most` examples, drawn by the seed; an example is no pair with itself."""
    chosen = torch.randperm(len(examples), generator=torch_stream(seed, "class distances"))[:most].sort().values
    inputs, labels = examples.batch(chosen)
    flat = inputs.movedim(-4, 0).flatten(1)
    distances = torch.cat([torch.cdist(rows, flat) for rows in torch.split(flat, _ROWS)]).double()
    once = torch.ones_like(distances, dtype=torch.bool).triu(1)
    same = labels[:, None] == labels[None, :]
    norm = float(flat.norm(dim=1).double().mean())
    return ClassDistances(len(chosen), _spread(distances[once & same]), _spread(distances[once & ~same]), norm)


def _spread(distances: Tensor) -> Spread:
    if len(distances) == 0:
        return Spread(0, None, None, None, None)
    std = float(distances.std()) if len(distances) > 1 else 0.0
    return Spread(len(distances), float(distances.mean()), std, float(distances.min()), float(distances.max()))
