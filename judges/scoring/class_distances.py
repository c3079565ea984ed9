"""Distances between the examples of a data set: the scale on which to read the l2 of a reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream
from judges.runs.measures import ClassDistances, Spread

_ROWS = 64
"""Number of examples whose distances to all others are computed at once."""


def class_distances(examples: Examples, most: int, *, seed: int) -> ClassDistances:
    """Return the distances of pairs of different examples, at most `most` of them, drawn with the seed."""
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
