"""The ROC curve of scores, and what is read off it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from judges.runs.rows.membership import FEW, LEAST

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

GRID = tuple(float(f"{10 ** (place / 10):.4g}") for place in range(-30, 1))
"""Rates of false positives of a curve, ten a decade from 0.001 to 1."""


@dataclass(frozen=True)
class Told:
    """What a ROC curve says; the fields are the columns of `judges.runs.rows.membership.MembershipScore`."""

    members: int
    non_members: int
    auc: float
    auc_error: float
    balanced_accuracy: float
    caught_1: int | None
    caught_01: int | None
    curve: Mapping[str, float]


def told_by(scores: Floats, members: Flags) -> Told:
    """Return what scores tell of who is a member.

    Args:
        scores: (n,), higher for a likelier member; ties are broken against the attack.
        members: bool (n,), of both kinds at least one.

    Raises:
        ValueError: all candidates are members, or none is.
    """
    from sklearn.metrics import roc_curve  # takes a second to import, in every command that names this module

    inside, outside = int(members.sum()), int((~members).sum())
    if not inside or not outside:
        raise ValueError(f"expected members and others among the candidates, found {inside} and {outside}")
    false, true, _ = roc_curve(members, scores, drop_intermediate=False)
    area, deviation = area_and_error(scores, members)
    return Told(
        members=inside,
        non_members=outside,
        auc=area,
        auc_error=deviation,
        balanced_accuracy=float(((true + 1 - false) / 2).max()),
        caught_1=round(reached(false, true, FEW) * inside) if outside * FEW >= 1 else None,
        caught_01=round(reached(false, true, LEAST) * inside) if outside * LEAST >= 1 else None,
        curve={f"{rate:g}": reached(false, true, rate) for rate in GRID if rate * outside >= 1},
    )


def reached(false: Floats, true: Floats, rate: float) -> float:
    """Return the largest rate of true positives at a threshold whose rate of false positives is at most `rate`.

    Args:
        false, true: of all thresholds, ascending.
        rate: largest rate of false positives; nothing is interpolated.
    """
    return float(true[np.searchsorted(false, rate + 1e-12, side="right") - 1])


def area_and_error(scores: Floats, members: Flags) -> tuple[float, float]:
    """Return the area under the ROC curve, and its standard error by DeLong's method.

    The area is the share of pairs in which the member scores higher, a tie counting half (Hanley and McNeil 1982); its
    variance follows from the placements of each candidate among those of the other kind, which mid-ranks give in
    n log n (Sun and Xu 2014, eqs. 5 to 8). The error is NaN-free: of a single member or non-member that part is 0.
    """
    inside, outside = scores[members], scores[~members]
    m, n = len(inside), len(outside)
    every = rankdata(np.concatenate([inside, outside]))
    above = (every[:m] - rankdata(inside)) / n
    below = 1.0 - (every[m:] - rankdata(outside)) / m
    parts = (part.var(ddof=1) / len(part) if len(part) > 1 else 0.0 for part in (above, below))
    return float(above.mean()), math.sqrt(float(sum(parts)))
