"""Rows of membership inferences -> one line for each attack on each kind of target, with its controls and a verdict."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, variance

import numpy as np
import pydantic
from scipy.stats import betabinom, norm

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from judges.intervals import CONFIDENCE, Rate, clopper_pearson
from judges.runs.identity import Approach, columns_of
from judges.runs.rows.classes import AttackedModel, Target
from judges.runs.rows.membership import BLIND, FEW, NULL, MembershipScore

MEMBERS_TOLD = "members are told apart"
SOME_TOLD = "some members are told"
UNTOLD = "nothing found"
DIFFERENT = "cannot tell"
CONTROL = "control"
SURE = 0.001
"""Probability below which many members told at 1 % of false positives are not taken for chance."""

VERDICTS = (MEMBERS_TOLD, SOME_TOLD, DIFFERENT, UNTOLD, CONTROL)


@dataclass(frozen=True)
class Area:
    """A mean area under the ROC curve with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MembershipSummary(Approach, AttackedModel):
    """One line: an attack, or a control, on targets of one kind.

    Attributes:
        cell: as in the rows.
        units: number of models, or of updates.
        shadows: number of shadow models.
        members, non_members: numbers of candidates of all units together.
        auc: mean over the units.
        balanced_accuracy: mean over the units.
        caught_1, caught_01: members that are told at 1 % and 0.1 % of false positives; None where there are too few
            non-members. The interval (Clopper and Pearson 1934) takes each unit's threshold for given.
        curve: (rate of false positives, mean rate of true positives).
        null: area of the same attack on a model that never saw a candidate; None of a control, or if there is none.
        blind: area of a classifier that sees the same candidates and no model; None likewise.
        test_accuracy, train_accuracy: means over the units; None where they are not known.
        seconds: mean wall time.
        verdict, reason: in words.
    """

    cell: str
    units: int
    shadows: int
    members: int
    non_members: int
    auc: Area
    balanced_accuracy: float
    caught_1: Rate | None
    caught_01: Rate | None
    curve: tuple[tuple[float, float], ...]
    null: Area | None
    test_accuracy: float | None
    train_accuracy: float | None
    seconds: float
    verdict: str
    reason: str
    blind: Area | None = None


@dataclass(frozen=True)
class Memberships:
    """A whole run: its lines, those of one kind of target together, attacks before controls."""

    cells: tuple[MembershipSummary, ...]


def summarise(rows: Sequence[MembershipScore]) -> Memberships:
    """Return the summary of rows, which may be those of a part of a run."""
    kinds: dict[Target, dict[str, list[MembershipScore]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        kinds[row.target][row.cell].append(row)
    nulls = [row for row in rows if row.control == NULL]
    lines = []
    for cells in kinds.values():
        ordered = sorted(cells.values(), key=lambda own: own[0].is_control)
        blind = [row for own in ordered for row in own if row.control == BLIND]
        lines += [_line(own, [row for row in nulls if _same(row, own[0])], blind) for own in ordered]
    return Memberships(tuple(lines))


def write_memberships(summary: Memberships, path: Path) -> Path:
    """Write a summary as JSON, atomically."""
    return atomic_write(path, json.dumps(asdict(summary), indent=1) + "\n")


def read_memberships(path: Path) -> Memberships:
    """Read the summary that `write_memberships` wrote; a DataError if the file is missing or invalid."""
    try:
        return pydantic.TypeAdapter(Memberships).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DataError(f"{path}: expected a summary of membership inferences ({error}).") from error


def area(rows: Sequence[MembershipScore]) -> Area:
    """Return the mean area of units with a normal interval.

    The variance of the mean is the larger of what DeLong's errors within the units give and of what the units' spread
    gives. If every pair is in order, the error is 0, and the end of the exact interval over the members stands in. It
    does so too where a unit has a single member or other, of whose spread DeLong's error knows nothing: its variance is
    at most that of a yes or no with the same mean.
    """
    areas, count = [row.auc for row in rows], len(rows)
    within = sum(row.auc_error**2 for row in rows) / count**2
    between = variance(areas) / count if count > 1 else 0.0
    middle, reach = mean(areas), float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(max(within, between))
    if reach == 0.0 or min(min(row.members, row.non_members) for row in rows) == 1:
        least = min(sum(row.members for row in rows), sum(row.non_members for row in rows))
        low, high = clopper_pearson(round(middle * least), least)
        return Area(middle, min(low, middle), max(high, middle))
    return Area(middle, max(0.0, middle - reach), min(1.0, middle + reach))


def by_chance(rows: Sequence[MembershipScore]) -> float | None:
    """Return the probability that scores which know nothing tell as many members at 1 % of false positives as these.

    Of m members and n others in random order, those above the k + 1 first others are beta-binomial with k + 1 and
    n - k; the units are independent. None where there are too few others.
    """
    chances = np.ones(1)
    for row in rows:
        if row.caught_1 is None:
            return None
        passed = math.floor(FEW * row.non_members + 1e-9)
        own = betabinom.pmf(np.arange(row.members + 1), row.members, passed + 1, row.non_members - passed)
        chances = np.convolve(chances, own)
    caught = sum(row.caught_1 or 0 for row in rows)
    return float(min(1.0, chances[caught:].sum()))


def verdict_on(
    auc: Area, caught: Rate | None, null: Area | None, chance: float | None, blind: Area | None = None
) -> tuple[str, str]:
    """Return the verdict in words on an attack, and the reason for it.

    A classifier without any model counts where it is above chance: fitted to few candidates, its interval is wide.

    Args:
        auc: its area.
        caught: members told at 1 % of false positives, if that can be told.
        null: area of the same attack on a model that never saw a candidate, if there is one.
        chance: `by_chance` of its rows.
        blind: area of a classifier that sees the candidates and no model, if there is one.
    """
    beside = {"on a model that never saw them": null, "without any model": blind}
    reason = "; ".join([f"the area is {_told(auc)}", *(f"{how} {_told(area)}" for how, area in beside.items() if area)])
    differ = any(area is not None and area.low > 0.5 for area in (null, blind))
    floor = max([0.5, *([null.high] if null else []), *([blind.high] if blind and blind.low > 0.5 else [])])
    if auc.low > floor:
        return MEMBERS_TOLD, reason
    if differ:
        return DIFFERENT, f"{reason}: members and others differ without any training"
    if caught is not None and chance is not None and chance < SURE:
        told = f"at 1 % of false positives {caught.count} of {caught.of} members are told"
        return SOME_TOLD, f"{reason}; {told}, which by chance has a probability of {chance:.1g}"
    return UNTOLD, reason


def _told(area: Area) -> str:
    return f"{area.mean:.3f} [{area.low:.3f}, {area.high:.3f}]"


def _line(
    rows: Sequence[MembershipScore], nulls: Sequence[MembershipScore], blinds: Sequence[MembershipScore]
) -> MembershipSummary:
    """Return the line of one cell.

    Args:
        rows: of the cell.
        nulls: of the same attack on models that never saw a candidate.
        blinds: of the classifier that sees the same candidates and no model.
    """
    first, auc = rows[0], area(rows)
    null, blind = (area(own) if own and not first.is_control else None for own in (nulls, blinds))
    caught = [_caught([row.caught_1 for row in rows], rows), _caught([row.caught_01 for row in rows], rows)]
    verdict, reason = (
        (CONTROL, "asks no model that saw a candidate")
        if first.is_control
        else verdict_on(auc, caught[0], null, by_chance(rows), blind)
    )
    return MembershipSummary(
        **columns_of(first, Approach, AttackedModel),
        cell=first.cell,
        units=len(rows),
        shadows=first.shadows,
        members=sum(row.members for row in rows),
        non_members=sum(row.non_members for row in rows),
        auc=auc,
        balanced_accuracy=mean(row.balanced_accuracy for row in rows),
        caught_1=caught[0],
        caught_01=caught[1],
        curve=_curve(rows),
        null=null,
        blind=blind,
        test_accuracy=_mean(row.test_accuracy for row in rows),
        train_accuracy=_mean(row.train_accuracy for row in rows),
        seconds=mean(row.seconds for row in rows),
        verdict=verdict,
        reason=reason,
    )


def _same(null: MembershipScore, row: MembershipScore) -> bool:
    """Return whether a control is of the same attack, on a model of the same kind."""
    same_attack = (null.attack, dict(null.attack_settings)) == (row.attack, dict(row.attack_settings))
    return same_attack and null.group == row.group


def _caught(counts: Sequence[int | None], rows: Sequence[MembershipScore]) -> Rate | None:
    """Return how many members of all units are told; None where that cannot be told of one."""
    known = [count for count in counts if count is not None]
    if len(known) < len(rows):
        return None
    of = sum(row.members for row in rows)
    return Rate(sum(known), of, sum(known) / of, *clopper_pearson(sum(known), of))


def _curve(rows: Sequence[MembershipScore]) -> tuple[tuple[float, float], ...]:
    """Return the mean curve over the units, at the rates that all of them have."""
    shared = [rate for rate in rows[0].curve if all(rate in row.curve for row in rows)]
    return tuple((float(rate), float(np.mean([float(row.curve[rate]) for row in rows]))) for rate in shared)


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None
