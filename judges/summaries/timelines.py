"""Timelines of victims -> one summary for each cell: means by time step, and how well profiles of spikes correlate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from judges.intervals import Distribution, bootstrap_mean, distribution
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.timelines import Timelines

ByStep = tuple[float | None, ...]
"""A value for each time step; None where one of the victims' is not finite."""


@dataclass(frozen=True, kw_only=True)
class TimeSummary(Approach, Attacked):
    """How an attack's answers, or those of a control, fare over the T steps of recordings of events.

    Attributes:
        cell, guess, thresholding, tau: as in the rows.
        n: number of examples.
        truth, answer: mean number of spikes of the true recordings and of the answers, by step.
        l2, ssim: mean l2 and SSIM of the frames, by step; ssim is None for frames smaller than 7x7.
        correlation: distribution of the correlation of the profiles of spikes, of the examples of which it is defined;
            None if of none.
        interval: bootstrap 95 % interval of its mean; None for a single federation, or where there is
            only one, for a single batch.
        defined: number of examples of which it is defined: neither profile is constant.
    """

    cell: str
    guess: str
    thresholding: str
    tau: float | None
    n: int
    truth: ByStep
    answer: ByStep
    l2: ByStep
    ssim: ByStep | None
    correlation: Distribution | None
    interval: tuple[float, float] | None
    defined: int


def summarise_timelines(timelines: Sequence[Timelines], *, seed: int) -> tuple[TimeSummary, ...]:
    """Return the summary of the timelines of each cell, in their order.

    Args:
        timelines: of the cells of a run.
        seed: seed of the bootstrap.
    """
    return tuple(_summary(one, seed) for one in timelines)


def _summary(one: Timelines, seed: int) -> TimeSummary:
    owners = one.repeats if len(set(one.repeats)) > 1 else one.captures
    pairs = zip(owners, one.correlation.tolist(), strict=True)
    defined = [(owner, value) for owner, value in pairs if math.isfinite(value)]
    units, values = [owner for owner, _ in defined], [value for _, value in defined]
    stream = f"timelines/{one.cell}"
    return TimeSummary(
        **columns_of(one, Approach, Attacked),
        cell=one.cell,
        guess=one.guess,
        thresholding=one.thresholding,
        tau=one.tau,
        n=len(one.captures),
        truth=_means(one.truth.tolist()),
        answer=_means(one.answer.tolist()),
        l2=_means(one.l2.tolist()),
        ssim=None if one.ssim is None else _means(one.ssim.tolist()),
        correlation=distribution(values) if values else None,
        interval=bootstrap_mean(values, units, seed=seed, stream=stream) if values else None,
        defined=len(values),
    )


def _means(values: Sequence[Sequence[float]]) -> ByStep:
    """Return the mean over the examples of values (V, T)."""
    means = map(fmean, zip(*values, strict=True))
    return tuple(mean if math.isfinite(mean) else None for mean in means)
