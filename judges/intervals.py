"""Statistics of a cell: quartiles, bootstrap intervals, and comparisons with controls and with chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom, wilcoxon

from fl_sim.seeding import numpy_stream

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Distribution:
    """A column of a cell. None stands for a value that is not finite: the MSE of an answer with NaN is infinite."""

    mean: float | None
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None


@dataclass(frozen=True)
class Rate:
    """How often something happened.

    Attributes:
        count, of: number of occurrences, and of cases.
        share: count / of.
        low, high: 95 % interval of the share.
    """

    count: int
    of: int
    share: float
    low: float
    high: float


def distribution(values: Sequence[float]) -> Distribution:
    """Return mean, median and quartiles (linear interpolation) of the values; a ValueError if there are none."""
    if not values:
        raise ValueError("no value to describe")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    quartiles = [_quantile(ordered, q) for q in (0.5, 0.25, 0.75)]
    return Distribution(*(value if math.isfinite(value) else None for value in (float(ordered.mean()), *quartiles)))


def bootstrap_mean(
    values: Sequence[float], units: Sequence[object], *, seed: int, stream: str
) -> tuple[float, float] | None:
    """Return the percentile-bootstrap 95 % interval of a mean (Efron 1979), or None for fewer than two units.

    Whole units are drawn with replacement, 2000 times: victims of one federation share its model, and examples of one
    batch were attacked together, so they are not independent.

    Args:
        values: finite, one for each example.
        units: for each value the unit to which it belongs, a federation or a batch.
        seed: root seed.
        stream: name of the random stream.
    """
    _, member = np.unique([repr(unit) for unit in units], return_inverse=True)
    count = int(member.max()) + 1
    if count < 2:
        return None
    sums = np.bincount(member, weights=np.asarray(values, dtype=np.float64))
    sizes = np.bincount(member)
    drawn = numpy_stream(seed, "bootstrap", stream).integers(0, count, size=(RESAMPLES, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def rate(flags: Sequence[bool], units: Sequence[object], *, seed: int, stream: str) -> Rate:
    """Return how often a flag is set, with the bootstrap interval of the share.

    Where every unit has the same share, every resample has it too and the bootstrap would claim certainty; the exact
    interval (Clopper and Pearson 1934) of as many cases as there are units is then given instead.
    """
    of, count = len(flags), sum(flags)
    number = len({repr(unit) for unit in units})
    ends = bootstrap_mean([float(flag) for flag in flags], units, seed=seed, stream=stream)
    if ends is None and 0 < count < of:
        ends = (0.0, 1.0)
    elif ends is None or ends[0] == ends[1]:
        ends = clopper_pearson(number * count / of, number)
    return Rate(count=count, of=of, share=count / of, low=ends[0], high=ends[1])


def clopper_pearson(count: float, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934); a count of clusters may be a fraction."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low = float(beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1.0 - tail, count + 1, of - count)) if count < of else 1.0
    return low, high


def wilcoxon_greater(differences: Sequence[float]) -> float:
    """Return the one-sided p of Wilcoxon's signed-rank test that the differences tend to be above 0.

    Zero differences carry no information and are left out (Wilcoxon 1945); if nothing is left, p is 1. The normal
    approximation, which stands in where differences are tied, is never taken for less than `least_p`.
    """
    nonzero = [value for value in differences if value != 0.0]
    return max(float(wilcoxon(nonzero, alternative="greater").pvalue), least_p(len(nonzero))) if nonzero else 1.0


def least_p(count: int) -> float:
    """Return the smallest p that `wilcoxon_greater` can give for so many differences: that of all being above 0."""
    return 0.5**count


def binomial_greater(count: int, of: int, share: float) -> float:
    """Return the p of at least so many hits, if each of the cases is a hit with probability `share`."""
    return float(binom.sf(count - 1, of, share))


def named_by_chance(labels: Sequence[int], classes: int) -> float:
    """Return how many labels of a batch, in any order, are named on average by a guess that knows nothing of it.

    The guess spreads N labels evenly over the classes, and draws which classes have one more than others. That names
    more than N random labels: of 2,000 labels of ten classes that are nearly as frequent as each other, almost all.
    """
    each, rest = divmod(len(labels), classes)
    counts = Counter(labels).values()
    return sum(min(count, each) + (rest / classes if count > each else 0.0) for count in counts)


def _quantile(ordered: np.ndarray, q: float) -> float:
    """Return a quantile by linear interpolation, which is exact even if some values are infinite."""
    position = q * (len(ordered) - 1)
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    share = position - math.floor(position)
    return float(below if share == 0.0 or below == above else below + share * (above - below))
