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

import torch
from torch import Tensor

from fl_sim.seeding import torch_stream
from judges.classifiers.cache import Judge
from judges.runs.class_rows import InversionScores, Repeated

DRAWS = 1000
AT_ONCE = 2**24
"""Elements of spikes, or of examples, that are held at once at most."""


@dataclass(frozen=True)
class ClassOutcomes:
    """What a judge makes of each of K reconstructions.

    Attributes:
        rank: (K,), of the own class in the judge's belief, 1 for the first.
        predicted: (K,), the class that the judge sees; -1 where it sees none.
        confidence: (K,), float64, the probability of the own class.
        distinctive: (K,), bool: of all reconstructions, the judge believes most in one made for this class that it
            shows the class.
    """

    rank: Tensor
    predicted: Tensor
    confidence: Tensor
    distinctive: Tensor


def outcomes(log_probabilities: Tensor, classes: Tensor) -> ClassOutcomes:
    """Return what a judge makes of each of K reconstructions.

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
    best = beliefs.max(dim=1)
    return ClassOutcomes(
        rank=(beliefs >= own).sum(1),  # its own column included
        predicted=best.indices.where(best.values > -math.inf, torch.tensor(-1)),
        confidence=own[:, 0].exp(),
        distinctive=_distinctive(beliefs, classes),
    )


def score(log_probabilities: Tensor, classes: Tensor) -> InversionScores:
    """Return the scores of K reconstructions; see `outcomes`."""
    told = outcomes(log_probabilities, classes)
    return InversionScores(
        attack_accuracy=float((told.rank == 1).double().mean()),
        top3=float((told.rank <= 3).double().mean()),
        confidence=float(told.confidence.mean()),
        daa=len(set(classes[told.distinctive].tolist())) / len(set(classes.tolist())),
    )


def seen_by_judges(inputs: Tensor) -> Tensor:
    """Return what a judge is shown of an answer: images scaled to [0, 1], each by its own least and largest value, as
    the source does; spikes (T, K, C, H, W) as they are.
    """
    return inputs if inputs.dim() == 5 else min_max_scaled(inputs)


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


def _distinctive(beliefs: Tensor, classes: Tensor) -> Tensor:
    """Return (K,): whether the column of its class has its largest entry in a row that was made for that class."""
    columns = beliefs[:, classes]  # (K, K): column k is the belief of all in class k
    alike = classes[:, None] == classes[None, :]
    own = columns.where(alike, torch.tensor(-math.inf, dtype=torch.float64)).amax(0)
    others = columns.where(~alike, torch.tensor(-math.inf, dtype=torch.float64)).amax(0)
    return own > others


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
