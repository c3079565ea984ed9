"""Distances from answers to a data set's examples, and between these."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream
from judges.runs.measures import ClassDistances, Spread
from judges.scoring.class_metrics import AT_ONCE, rate_decoded

_ROWS = 64
"""Number of examples in a block whose distances to those of another one are computed at once."""


@dataclass(frozen=True)
class Nearest:
    """The example of a split that is nearest to each of K reconstructions.

    Attributes:
        l2: (K,), float64, the distance.
        mse: (K,), float64, the mean squared error.
        index, label: (K,), index of the example, the first of equally near ones, and its class.
    """

    l2: Tensor
    mse: Tensor
    index: Tensor
    label: Tensor


def nearest(images: Tensor, split: Examples, *, at_most: int = 0) -> Nearest:
    """Return the nearest example of a split to each of K images (K, C, H, W), exactly.

    The answers of an attack that only finds what a class looks like are as near to the train split as to an equally
    large part of the test split; those of an attack that recovers training examples are much nearer to the train split.

    Args:
        images: (K, C, H, W).
        split: the examples; recordings are averaged over time.
        at_most: number of examples to compare, spread evenly over the split; 0 for all.
    """
    ours = images.double().flatten(1)
    best = torch.full((len(ours),), torch.inf, dtype=torch.float64)
    index = torch.zeros(len(ours), dtype=torch.int64)
    steps = split.batch(torch.arange(1))[0].numel()
    count = min(at_most or len(split), len(split))
    compared = torch.arange(count) * len(split) // count
    for part in torch.split(compared, max(1, AT_ONCE // max(1, steps))):
        theirs = rate_decoded(split.batch(part)[0]).double().flatten(1)
        # The faster way by inner products suffers from cancellation for near examples.
        distances = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist")
        least, place = distances.min(dim=1)
        index = torch.where(least < best, part[place], index)
        best = torch.minimum(least, best)
    return Nearest(best, best.square() / ours.shape[1], index, split.labels[index])


def class_distances(examples: Examples, most: int, *, seed: int) -> ClassDistances:
    """Return the distances of pairs of different examples, at most `most` of them, drawn with the seed.

    Never more than two blocks of examples are in memory, so that recordings of full size can be compared.
    """
    chosen = torch.randperm(len(examples), generator=torch_stream(seed, "class distances"))[:most].sort().values
    distances, norms = torch.zeros(len(chosen), len(chosen)), torch.zeros(len(chosen))
    blocks = torch.split(torch.arange(len(chosen)), _ROWS)
    for place, block in enumerate(blocks):
        rows = _flat(examples, chosen[block])
        norms[block] = rows.norm(dim=1)
        for other in blocks[place:]:
            columns = rows if other is block else _flat(examples, chosen[other])
            distances[block[:, None], other] = torch.cdist(rows, columns)
    once, labels = torch.ones_like(distances, dtype=torch.bool).triu(1), examples.labels[chosen]
    same = labels[:, None] == labels[None, :]
    intra, inter = (_spread(distances[once & kind].double()) for kind in (same, ~same))
    return ClassDistances(len(chosen), intra, inter, float(norms.double().mean()))


def _flat(examples: Examples, indices: Tensor) -> Tensor:
    """Return examples as rows (n, values)."""
    return examples.batch(indices)[0].movedim(-4, 0).flatten(1)


def _spread(distances: Tensor) -> Spread:
    if len(distances) == 0:
        return Spread(0, None, None, None, None)
    std = float(distances.std()) if len(distances) > 1 else 0.0
    return Spread(len(distances), float(distances.mean()), std, float(distances.min()), float(distances.max()))
