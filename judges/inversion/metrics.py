"""How well a model inversion did: what a judge sees in the reconstructions, and whether they are remembered examples.

Everything is computed from the logarithms of the judge's probabilities, log P (K, C) in float64: row k is the
reconstruction made for `classes[k]`, column c the judge's belief in class c.

A tie counts against the attack: its class has to be believed in more than any other, not as much. So the outcome
depends on no order, a reconstruction that holds NaN (all of its row minus infinity) is a failure, and K equal
reconstructions are no success of any of them.

Source: Poursiami, Alouani and Parsa, "BrainLeaks", 2024, section 4.2, and their published code. There DAA and the
average confidence are of one draw, and the deviations of the other two over 1000 draws of one attack's answer; here
all four are over the draws. Deviations over repeated attacks are something else: `over_attacks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

import torch
from torch import Tensor

from fl_sim.datasets.examples import Dataset, Examples
from fl_sim.seeding import torch_stream
from judges.classifiers.cache import Judge

DRAWS = 1000
AT_ONCE = 2**24
"""Elements of spikes, or of examples, that are held at once at most."""


class Inverted(Protocol):
    """The part of a model inversion's answer that is judged."""

    @property
    def classes(self) -> Tensor:
        """Return the classes attacked, (K,)."""

    @property
    def inputs(self) -> Tensor:
        """Return images (K, C, H, W), or spikes (T, K, C, H, W)."""


@dataclass(frozen=True)
class InversionScores:
    """What a judge makes of K reconstructions, each in [0, 1].

    Attributes:
        attack_accuracy: share whose own class is the judge's first.
        top3: share whose own class is among the judge's first three.
        confidence: mean probability of the own class.
        daa: differential attack accuracy: share of attacked classes for which the judge believes in a reconstruction
            made for them more than in all others.
    """

    attack_accuracy: float
    top3: float
    confidence: float
    daa: float


@dataclass(frozen=True)
class Repeated:
    """Mean and standard deviation of scores.

    Attributes:
        count: how many scores.
        mean: of each.
        std: of each; None where it takes two scores and there is one.
    """

    count: int
    mean: InversionScores
    std: InversionScores | None


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


def score(log_probabilities: Tensor, classes: Tensor) -> InversionScores:
    """Return the scores of K reconstructions.

    Args:
        log_probabilities: (K, C); NaN counts as minus infinity.
        classes: (K,), which class each was made for.

    Raises:
        ValueError: no reconstruction, or not one class in 0 to C - 1 for each.
    """
    if log_probabilities.dim() != 2 or len(classes) != len(log_probabilities) or len(classes) == 0:
        raise ValueError(f"expected (K, C) and (K,), got {tuple(log_probabilities.shape)} and {tuple(classes.shape)}")
    if not 0 <= int(classes.min()) <= int(classes.max()) < log_probabilities.shape[1]:
        raise ValueError(f"expected classes from 0 to {log_probabilities.shape[1] - 1}, got {classes.tolist()}")
    beliefs = log_probabilities.double().nan_to_num(-math.inf, math.inf, -math.inf)
    own = beliefs.gather(1, classes[:, None])
    ranks = (beliefs >= own).sum(1)  # its own column included
    return InversionScores(
        attack_accuracy=float((ranks == 1).double().mean()),
        top3=float((ranks <= 3).double().mean()),
        confidence=float(own.exp().mean()),
        daa=_daa(beliefs, classes),
    )


def score_inversion(inversion: Inverted, judge: Judge) -> InversionScores:
    """Return the scores of one attack's answer as it stands.

    Images are first scaled to [0, 1], each by its own least and largest value, as the source does; spikes are not.

    Args:
        inversion: the answer.
        judge: of images for images; for spikes one that reads them.

    Raises:
        ValueError: the judge does not read such inputs.
    """
    inputs = inversion.inputs
    seen = inputs if inputs.dim() == 5 else min_max_scaled(inputs)
    return score(judge.log_probabilities(seen), inversion.classes)


def score_draws(
    probabilities: Tensor, classes: Tensor, judge: Judge, *, seed: int, draws: int = DRAWS
) -> tuple[InversionScores, ...]:
    """Return the scores of each of R draws of the same Bernoulli parameters. The seed alone decides what is drawn.

    Args:
        probabilities: (T, K, C, H, W) in [0, 1].
        classes: (K,).
        judge: one that reads spikes.
        seed: of the stream; draw r is the same whatever R.
        draws: R.
    """
    found: list[InversionScores] = []
    at_once = max(1, AT_ONCE // max(1, probabilities.numel()))
    for part in _parts(_draws(probabilities, seed, draws), at_once):
        beliefs = judge.log_probabilities(torch.cat(part, dim=1))
        found += [score(own, classes) for own in torch.split(beliefs, len(classes))]
    return tuple(found)


def over_draws(scores: Sequence[InversionScores]) -> Repeated:
    """Return mean and deviation over draws of one attack's answer; the deviation is the population's (ddof 0)."""
    return _repeated(scores, correction=0)


def over_attacks(scores: Sequence[InversionScores]) -> Repeated:
    """Return mean and deviation over attacks repeated with other seeds; the deviation is the sample's (ddof 1)."""
    return _repeated(scores, correction=1)


def min_max_scaled(images: Tensor) -> Tensor:
    """Return images (K, C, H, W), each scaled to [0, 1] by its own least and largest value; 0 where all are equal."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low), torch.where(images.isfinite(), 0.0, images))


def rate_decoded(inputs: Tensor) -> Tensor:
    """Return images (K, C, H, W): those given, or the mean over time of spikes (T, K, C, H, W)."""
    return inputs.mean(0) if inputs.dim() == 5 else inputs


def memorisation(inputs: Tensor, dataset: Dataset) -> tuple[Nearest, Nearest]:
    """Return how far each reconstruction is from the nearest training example, and from the nearest test example.

    An attack that does no more than show what a class looks like is as near to either; one that has brought back an
    example it cannot know otherwise is much nearer to the first.

    Args:
        inputs: (K, C, H, W), or spikes (T, K, C, H, W), which are compared as means over time.
        dataset: recordings of events are compared as means over time too.
    """
    images = rate_decoded(inputs)
    return nearest(images, dataset.train), nearest(images, dataset.test)


def nearest(images: Tensor, split: Examples) -> Nearest:
    """Return the nearest example of a split to each of K images (K, C, H, W), over all examples, exactly."""
    ours = images.double().flatten(1)
    best = torch.full((len(ours),), torch.inf, dtype=torch.float64)
    index = torch.zeros(len(ours), dtype=torch.int64)
    steps = split.batch(torch.arange(1))[0].numel()
    for part in torch.split(torch.arange(len(split)), max(1, AT_ONCE // max(1, steps))):
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


def _daa(beliefs: Tensor, classes: Tensor) -> float:
    """Return the share of attacked classes whose column has its largest entry in a row of their own."""
    wins, attacked = 0, set(classes.tolist())
    for label in attacked:
        column, made_for_it = beliefs[:, label], classes == label
        others = column[~made_for_it]
        wins += bool(column[made_for_it].max() > (others.max() if len(others) else -math.inf))
    return wins / len(attacked)


def _draws(probabilities: Tensor, seed: int, draws: int) -> Iterator[Tensor]:
    """Yield R draws (T, K, C, H, W) of spikes, each from a stream of its own."""
    for number in range(draws):
        stream = torch_stream(seed, "bernoulli draws", number)
        uniform = torch.rand(probabilities.shape, generator=stream)
        yield (uniform < probabilities.cpu()).to(torch.float32)


def _parts(items: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Yield lists of up to `size` items."""
    part: list[Tensor] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _repeated(scores: Sequence[InversionScores], *, correction: int) -> Repeated:
    """Return mean and deviation of scores, at least one."""
    values = torch.tensor([astuple(one) for one in scores], dtype=torch.float64)
    mean = InversionScores(*values.mean(0).tolist())
    if len(scores) <= correction:
        return Repeated(len(scores), mean, None)
    return Repeated(len(scores), mean, InversionScores(*values.std(0, correction=correction).tolist()))


def _members(split: Examples, label: int) -> Tensor:
    """Return the indices of the examples of a class, or raise ValueError where there is none."""
    members = (split.labels == label).nonzero().flatten()
    if len(members) == 0:
        raise ValueError(f"the split has no example of class {label}")
    return members
