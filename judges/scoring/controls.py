"""What answers are compared with: controls that need no attack, and the examples of the data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.datasets.examples import Examples
from fl_sim.records import SealedBatch
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec
from judges.runs.identity import BLACK, CLASS_MEAN, GREY, MEAN_IMAGE
from judges.scoring.class_metrics import AT_ONCE, rate_decoded

NO_LABEL = -1
"""What an answer has that names no label."""

_MEAN_CHUNK = 256


@dataclass(frozen=True)
class Means:
    """Mean inputs of a split, each (C, H, W), or (T, C, H, W) of events.

    Attributes:
        overall: of all examples.
        by_class: of the examples of each class that the split has.
    """

    overall: Tensor
    by_class: Mapping[int, Tensor]

    def of(self, label: int) -> Tensor:
        """Return the mean of a class; of all examples where the split has none of it."""
        return self.by_class.get(label, self.overall)


@dataclass(frozen=True)
class Beside:
    """What a control of a captured update may use: nothing of the inputs but their shape.

    Attributes:
        inputs: (N, C, H, W), or (T, N, C, H, W) of events; only their shape and type may be read.
        labels: (N,), the true ones, for an adversary who knows them.
        spec: of the inputs.
        means: of the train split; None where there is no data set.
    """

    inputs: Tensor
    labels: Tensor
    spec: InputSpec
    means: Means | None


def _black(beside: Beside) -> Tensor:
    """Return the low end of the value range; of events the empty recording."""
    return torch.full_like(beside.inputs, beside.spec.low)


def _grey(beside: Beside) -> Tensor:
    """Return the middle of the value range."""
    return torch.full_like(beside.inputs, (beside.spec.low + beside.spec.high) / 2)


def _mean_image(beside: Beside) -> Tensor | None:
    """Return the mean of all inputs."""
    if beside.means is None:
        return None
    return beside.means.overall.to(beside.inputs).unsqueeze(-4).expand_as(beside.inputs).clone()


def _class_mean(beside: Beside) -> Tensor | None:
    """Return the mean of the true class: an adversary who knows the label and how the class looks, and no victim."""
    if beside.means is None:
        return None
    return torch.stack([beside.means.of(int(label)) for label in beside.labels], -4).to(beside.inputs)


CONTROLS: Mapping[str, Callable[[Beside], Tensor | None]] = {
    BLACK: _black,
    GREY: _grey,
    MEAN_IMAGE: _mean_image,
    CLASS_MEAN: _class_mean,
}
"""The controls of a captured update that need no attack: kind -> answer, or None where it cannot be given."""


def control_reconstructions(sealed: SealedBatch, spec: InputSpec, means: Means | None) -> dict[str, Reconstruction]:
    """Return, by kind of control, what needs no attack.

    Args:
        sealed: the batch that they stand beside.
        spec: of the inputs.
        means: of the train split; None where there is no data set, and then no control of a mean.
    """
    beside = Beside(sealed.inputs, sealed.labels, spec, means)
    answers = {kind: answer for kind, control in CONTROLS.items() if (answer := control(beside)) is not None}
    return {
        kind: Reconstruction(
            capture_id=sealed.capture_id,
            attack=kind,
            settings={},
            inputs=inputs,
            labels=torch.full_like(sealed.labels, NO_LABEL),
            matching_loss=float("nan"),
            last_inputs=inputs,
            loss_history=torch.empty(0),
            iterations=0,
            gradient_evaluations=0,
            restarts=1,
            stop_reason=StopReason.BUDGET,
            seconds=0.0,
            seed=0,
        )
        for kind, inputs in answers.items()
    }


def mean_inputs(examples: Examples) -> Means:
    """Return the mean inputs of a split, float32."""
    totals: dict[int, Tensor] = {}
    for part in torch.split(torch.arange(len(examples)), _MEAN_CHUNK):
        inputs, labels = examples.batch(part)
        for label in sorted(set(labels.tolist())):
            total = inputs.index_select(-4, (labels == label).nonzero().flatten()).double().sum(-4)
            totals[label] = totals[label] + total if label in totals else total
    counts = examples.labels.bincount().tolist()
    overall = torch.stack(list(totals.values())).sum(0) / len(examples)
    return Means(overall.float(), {label: (total / counts[label]).float() for label, total in totals.items()})


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
