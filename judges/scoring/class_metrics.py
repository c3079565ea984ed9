"""Scores of a model inversion: what a judge sees in the reconstructions.

Everything is computed from the logarithms of the judge's probabilities, log P (K, C) in float64: row k belongs to the
reconstruction made for `classes[k]`, column c is the judge's belief in class c.

A tie counts against the attack: the judge must believe in its class more than in any other. So the outcome does not
depend on any order, a reconstruction with NaN (whose row is minus infinity) is a failure, and K equal reconstructions
all fail.

Source: Poursiami, Alouani and Parsa, "BrainLeaks", 2024, section 4.2, and their published code. There DAA and the
average confidence are those of one draw, and the other two have deviations over 1000 draws of one attack's answer; here
all four are over the draws. `over_attacks` gives the deviations over repeated attacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from fl_sim.datasets.examples import Examples
from fl_sim.seeding import torch_stream
from judges.classifiers.cache import Judge
from judges.runs.rows.classes import InversionScores, Repeated

DRAWS = 1000
AT_ONCE = 2**24
"""Largest number of elements of spikes or examples in memory at once."""


@dataclass(frozen=True)
class ClassOutcomes:
    """A judge's view of each of K reconstructions.

    Attributes:
        rank: (K,), rank of the attacked class in the judge's belief, 1 for the first.
        predicted: (K,), the class that the judge sees; -1 for none.
        confidence: (K,), float64, the probability of the attacked class.
        distinctive: (K,), bool, whether the judge believes in this class more for a reconstruction made for it than for
            all others.
    """

    rank: Tensor
    predicted: Tensor
    confidence: Tensor
    distinctive: Tensor


def outcomes(log_probabilities: Tensor, classes: Tensor) -> ClassOutcomes:
    """Return a judge's view of each of K reconstructions.

    Args:
        log_probabilities: (K, C); NaN counts as minus infinity.
        classes: (K,), the class for which each was made.

    Raises:
        ValueError: there are no reconstructions, or there is not one class from 0 to C - 1 for each.
    """
    if log_probabilities.dim() != 2 or len(classes) != len(log_probabilities) or len(classes) == 0:
        raise ValueError(f"expected (K, C) and (K,), got {tuple(log_probabilities.shape)} and {tuple(classes.shape)}")
    if not 0 <= int(classes.min()) <= int(classes.max()) < log_probabilities.shape[1]:
        raise ValueError(f"expected classes from 0 to {log_probabilities.shape[1] - 1}, got {classes.tolist()}")
    beliefs = log_probabilities.double().nan_to_num(-math.inf, math.inf, -math.inf)
    own = beliefs.gather(1, classes[:, None])
    best = beliefs.max(dim=1)
    return ClassOutcomes(
        rank=(beliefs >= own).sum(1),  # including its own column
        predicted=best.indices.where(best.values > -math.inf, torch.tensor(-1)),
        confidence=own[:, 0].exp(),
        distinctive=_distinctive(beliefs, classes),
    )


def score(log_probabilities: Tensor, classes: Tensor) -> InversionScores:
    """Return the scores of K reconstructions; see `outcomes`."""
    seen = outcomes(log_probabilities, classes)
    return InversionScores(
        attack_accuracy=float((seen.rank == 1).double().mean()),
        top3=float((seen.rank <= 3).double().mean()),
        confidence=float(seen.confidence.mean()),
        daa=len(set(classes[seen.distinctive].tolist())) / len(set(classes.tolist())),
    )


def seen_by_judges(inputs: Tensor) -> Tensor:
    """Return a judge's inputs: images min-max scaled to [0, 1] as in the source, spikes (T, K, C, H, W) unchanged."""
    return inputs if inputs.dim() == 5 else min_max_scaled(inputs)


def score_draws(
    probabilities: Tensor, classes: Tensor, judge: Judge, *, seed: int, draws: int = DRAWS
) -> tuple[InversionScores, ...]:
    """Return the scores of each of R draws of the same Bernoulli parameters. The draws depend on the seed alone.

    Args:
        probabilities: (T, K, C, H, W) in [0, 1].
        classes: (K,).
        judge: a judge that reads spikes.
        seed: seed of the draws; draw r is the same for any R.
        draws: R.
    """
    scores: list[InversionScores] = []
    at_once, probabilities = max(1, AT_ONCE // max(1, probabilities.numel())), probabilities.cpu()
    for start in range(0, draws, at_once):
        numbers = range(start, min(start + at_once, draws))
        streams = [torch_stream(seed, "bernoulli draws", number) for number in numbers]
        spikes = torch.cat([bernoulli(probabilities, stream) for stream in streams], dim=1)
        scores += [score(own, classes) for own in torch.split(judge.log_probabilities(spikes), len(classes))]
    return tuple(scores)


def bernoulli(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Return spikes drawn with the given probabilities, float32."""
    return (torch.rand(probabilities.shape, generator=generator) < probabilities).to(torch.float32)


def over_draws(scores: Sequence[InversionScores]) -> Repeated:
    """Return mean and population standard deviation (ddof 0) over draws of one attack's answer."""
    return _repeated(scores, correction=0)


def over_attacks(scores: Sequence[InversionScores]) -> Repeated:
    """Return mean and sample standard deviation (ddof 1) over attacks repeated with other seeds."""
    return _repeated(scores, correction=1)


def min_max_scaled(images: Tensor) -> Tensor:
    """Return images (K, C, H, W), each scaled to [0, 1] by its own minimum and maximum; 0 if these are equal."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low), torch.where(images.isfinite(), 0.0, images))


def rate_decoded(inputs: Tensor) -> Tensor:
    """Return images (K, C, H, W): the given ones, or the mean over time of spikes (T, K, C, H, W)."""
    return inputs.mean(0) if inputs.dim() == 5 else inputs


def _distinctive(beliefs: Tensor, classes: Tensor) -> Tensor:
    """Return (K,): whether the column of its class has its largest entry in a row made for that class."""
    columns = beliefs[:, classes]  # (K, K): column k is the belief in class k for all reconstructions
    alike = classes[:, None] == classes[None, :]
    own = columns.where(alike, torch.tensor(-math.inf, dtype=torch.float64)).amax(0)
    others = columns.where(~alike, torch.tensor(-math.inf, dtype=torch.float64)).amax(0)
    return own > others


def _repeated(scores: Sequence[InversionScores], *, correction: int) -> Repeated:
    """Return mean and standard deviation of at least one score."""
    values = torch.tensor([astuple(one) for one in scores], dtype=torch.float64)
    mean = InversionScores(*values.mean(0).tolist())
    if len(scores) <= correction:
        return Repeated(len(scores), mean, None)
    return Repeated(len(scores), mean, InversionScores(*values.std(0, correction=correction).tolist()))


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
