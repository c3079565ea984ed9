"""What a model inversion is compared with: the examples of the data set, and answers that need no model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream
from judges.scoring.class_metrics import AT_ONCE, rate_decoded


@dataclass(frozen=True)
class Nearest:
    """The example of a split that is nearest to each of K reconstructions.

    Attributes:
        l2: (K,), float64, the distance.
        mse: (K,), float64, its square by element.
        index, label: (K,), which example it is, the first of equally near ones, and its class.
    """

    l2: Tensor
    mse: Tensor
    index: Tensor
    label: Tensor


def nearest(images: Tensor, split: Examples, *, at_most: int = 0) -> Nearest:
    """Return the nearest example of a split to each of K images (K, C, H, W), exactly.

    An attack that does no more than show what a class looks like is as near to the train split as to as large a part
    of the test split; one that has brought back an example it cannot know otherwise is much nearer to the first.

    Args:
        images: K of them.
        split: compared as means over time where it holds recordings.
        at_most: examples that are looked at, spread evenly over the split; 0 for all of them.
    """
    ours = images.double().flatten(1)
    best = torch.full((len(ours),), torch.inf, dtype=torch.float64)
    index = torch.zeros(len(ours), dtype=torch.int64)
    steps = split.batch(torch.arange(1))[0].numel()
    count = min(at_most or len(split), len(split))
    looked_at = torch.arange(count) * len(split) // count
    for part in torch.split(looked_at, max(1, AT_ONCE // max(1, steps))):
        theirs = rate_decoded(split.batch(part)[0]).double().flatten(1)
        # The faster way by inner products cancels to noise where two are near.
        distances = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist")
        least, place = distances.min(dim=1)
        index = torch.where(least < best, part[place], index)
        best = torch.minimum(least, best)
    return Nearest(best, best.square() / ours.shape[1], index, split.labels[index])


def shuffled(inputs: Tensor, *, seed: int) -> Tensor:
    """Return a control that shows nothing: the elements of each reconstruction in random order.

    Spikes keep their density and pixels their values exactly; which order is drawn depends on the seed and the row.

    Args:
        inputs: (K, C, H, W) or (T, K, C, H, W).
        seed: of the orders.
    """
    rows = inputs.movedim(-4, 0)
    mixed = [
        row.flatten()[torch.randperm(row.numel(), generator=torch_stream(seed, "control", "shuffled", number))]
        for number, row in enumerate(rows)
    ]
    return torch.stack(mixed).view(rows.shape).movedim(0, -4)


def class_means(split: Examples, classes: Tensor) -> Tensor:
    """Return a control: the mean example of each class, (K, C, H, W), or (T, K, C, H, W) of recordings of events."""
    means = []
    for label in classes.tolist():
        members = _members(split, label)
        total = sum((split.batch(part)[0].double().sum(-4) for part in torch.split(members, 500)), torch.zeros(()))
        means.append((total / len(members)).float())
    return torch.stack(means, dim=-4)


def class_samples(split: Examples, classes: Tensor, *, seed: int) -> Tensor:
    """Return the ceiling: a real example of each class, (K, C, H, W), or (T, K, C, H, W) of recordings of events.

    Args:
        split: with at least one example of each class; the test split, for what the judge was not trained on.
        classes: (K,).
        seed: of the choice, which depends on the seed and the class only.

    Raises:
        ValueError: the split has no example of a class.
    """
    chosen = []
    for label in classes.tolist():
        members = _members(split, label)
        stream = torch_stream(seed, "control", "sample", label)
        chosen.append(members[torch.randint(len(members), (), generator=stream)])
    return split.batch(torch.stack(chosen))[0]


def _members(split: Examples, label: int) -> Tensor:
    """Return the indices of the examples of a class, or raise ValueError where there is none."""
    members = (split.labels == label).nonzero().flatten()
    if len(members) == 0:
        raise ValueError(f"the split has no example of class {label}")
    return members
