"""What answers are compared with: controls that need no attack, and distances between a data set's examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.datasets.examples import Examples
from fl_sim.records import SealedBatch
from fl_sim.seeding import torch_stream
from fl_sim.specs import InputSpec
from judges.runs.identity import BLACK, CLASS_MEAN, GREY, MEAN_IMAGE
from judges.runs.measures import ClassDistances, Spread

NO_LABEL = -1
"""Label of an answer that names none."""

_MEAN_CHUNK = 256

_ROWS = 64
"""Number of examples in a block whose distances to those of another one are computed at once."""


@dataclass(frozen=True)
class Means:
    """Mean inputs of a split, each (C, H, W), or (T, C, H, W) for events.

    Attributes:
        overall: mean of all examples.
        by_class: mean of the examples of each class in the split; {} where they have no classes.
    """

    overall: Tensor
    by_class: Mapping[int, Tensor]

    def of(self, label: int) -> Tensor:
        """Return the mean of a class, or of all examples if the split has none of that class."""
        return self.by_class.get(label, self.overall)


@dataclass(frozen=True)
class Beside:
    """What a control of a captured update may use: of the inputs, only their shape and type.

    Attributes:
        inputs: (N, C, H, W), or (T, N, C, H, W) for events.
        labels: (N,), the true labels, for an adversary who knows them.
        spec: spec of the inputs.
        means: mean inputs of the train split, or of public pictures; None without either.
    """

    inputs: Tensor
    labels: Tensor
    spec: InputSpec
    means: Means | None


def _black(beside: Beside) -> Tensor:
    """Return the low end of the value range, which is the empty recording for events."""
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
    """Return the mean of the true class: the guess of an adversary who knows the label and how the class looks."""
    if beside.means is None or not beside.means.by_class:
        return None
    return torch.stack([beside.means.of(int(label)) for label in beside.labels], -4).to(beside.inputs)


CONTROLS: Mapping[str, Callable[[Beside], Tensor | None]] = {
    BLACK: _black,
    GREY: _grey,
    MEAN_IMAGE: _mean_image,
    CLASS_MEAN: _class_mean,
}
"""The controls of a captured update that need no attack: kind -> answer, or None if means are needed but missing."""

NO_CONTROLS: Mapping[str, Callable[[Beside], Tensor | None]] = {}
"""Of texts: black, grey and mean pictures are no texts. Their control is the attack's own guess."""


def control_reconstructions(sealed: SealedBatch, spec: InputSpec, means: Means | None) -> dict[str, Reconstruction]:
    """Return the answers of `CONTROLS` by kind, none for texts; see `Beside` for the arguments."""
    beside = Beside(sealed.inputs, sealed.labels, spec, means)
    controls = NO_CONTROLS if spec.vocabulary else CONTROLS
    answers = {kind: answer for kind, control in controls.items() if (answer := control(beside)) is not None}
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


def swapped_answers(answers: Sequence[Reconstruction], truths: Mapping[str, SealedBatch]) -> Iterator[Reconstruction]:
    """Yield a control for each victim: the attack's answer to the update of another one.

    It shows what the attack's prior scores without the victim's update. The other one is the next in turn that has as
    few labels in common with the victim as any, and no example: the same client may have been observed twice. Where
    there is no other one with inputs of the same shape, there is no control.

    Args:
        answers: of one attack to the updates of one model, in the order of the victims.
        truths: {capture id: the truth}, of all of them.
    """
    owners = [truths[answer.capture_id] for answer in answers]
    examples = [_contents(truth.inputs) for truth in owners]
    labels = [Counter(truth.labels.tolist()) for truth in owners]
    for at, truth in enumerate(owners):
        best: tuple[int, int] | None = None
        for place in (*range(at + 1, len(owners)), *range(at)):
            if owners[place].inputs.shape != truth.inputs.shape or examples[place] & examples[at]:
                continue
            common = (labels[place] & labels[at]).total()
            best = (common, place) if best is None or common < best[0] else best
            if common == 0:
                break
        if best is not None:
            other = answers[best[1]]
            yield replace(
                other,
                capture_id=truth.capture_id,
                labels=torch.full_like(other.labels, NO_LABEL),
                matching_loss=float("nan"),
                loss_history=torch.empty(0),
                iterations=0,
                gradient_evaluations=0,
                seconds=0.0,
            )


def _contents(inputs: Tensor) -> set[bytes]:
    """Return the digests of the examples of a batch."""
    rows = inputs.cpu().movedim(-4, 0)
    return {hashlib.sha256(row.contiguous().numpy().tobytes()).digest() for row in rows}


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


def shuffled(inputs: Tensor, *, seed: int) -> Tensor:
    """Return a control that shows nothing: the elements of each reconstruction in random order.

    The density of spikes and the values of pixels stay the same; the order depends on the seed and the row.

    Args:
        inputs: (K, C, H, W) or (T, K, C, H, W).
        seed: seed of the orders.
    """
    rows = inputs.movedim(-4, 0)
    mixed = [
        row.flatten()[torch.randperm(row.numel(), generator=torch_stream(seed, "control", "shuffled", number))]
        for number, row in enumerate(rows)
    ]
    return torch.stack(mixed).view(rows.shape).movedim(0, -4)


def class_means(split: Examples, classes: Tensor) -> Tensor:
    """Return a control: the mean example of each class, (K, C, H, W), or (T, K, C, H, W) for recordings of events."""
    means = []
    for label in classes.tolist():
        members = _members(split, label)
        total = sum((split.batch(part)[0].double().sum(-4) for part in torch.split(members, 500)), torch.zeros(()))
        means.append((total / len(members)).float())
    return torch.stack(means, dim=-4)


def class_samples(split: Examples, classes: Tensor, *, seed: int) -> Tensor:
    """Return the ceiling: a real example of each class, (K, C, H, W), or (T, K, C, H, W) for recordings of events.

    Args:
        split: the test split, on which the judge was not trained.
        classes: (K,).
        seed: seed of the choice, which depends only on the seed and the class.

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
    """Return the indices of the examples of a class; a ValueError if there are none."""
    members = (split.labels == label).nonzero().flatten()
    if len(members) == 0:
        raise ValueError(f"the split has no example of class {label}")
    return members


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
