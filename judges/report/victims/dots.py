"""How every victim of each cell fared, over the band of the controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from judges.report.formats import DASH, grouped, number
from judges.report.victims.sketches import Axis, Band, scale, strip
from judges.report.words import tone, unique_name
from judges.runs.identity import Group
from judges.runs.names import group_name
from judges.runs.rows import RECOGNISABLE_SSIM, Score
from judges.summaries.comparison import best_beside, best_controls
from judges.summaries.gradient_inversion import CellSummary, Summary, line_of

MOST_STRIPS = 120
"""How many cells a page shows strips of."""


class Measure(NamedTuple):
    """By what the victims of a group are compared: its name, its value in a row, and whether more is nearer."""

    name: str
    of: Callable[[Score], float]
    more: bool
    threshold: float | None = None

    def similarity(self, row: Score) -> float:
        """Return what is the greater the nearer an answer is."""
        return self.of(row) if self.more else -self.of(row)


SSIM = Measure("SSIM", lambda row: math.nan if row.ssim is None else row.ssim, True, RECOGNISABLE_SSIM)
TOKENS = Measure("share of the tokens", lambda row: row.similarity, True)
L2 = Measure("l2", lambda row: row.l2, False)


class Strip(NamedTuple):
    """The victims of a cell: their values and those of each one's best control."""

    name: str
    cell: CellSummary
    values: Sequence[float]
    controls: Sequence[float]  # of the victims that have any

    @property
    def band(self) -> Band | None:
        """Return the band of the controls; None where there are none."""
        return Band(min(self.controls), max(self.controls), median(self.controls)) if self.controls else None

    @property
    def tone(self) -> str:
        """Return the tone of the cell's verdict, which is of attacks without thresholding."""
        return tone(self.cell.verdict) if self.cell.tau is None else ""


class Strips(NamedTuple):
    """The strips of all groups that are compared by one measure, on one axis."""

    measure: Measure
    axis: Axis
    groups: Mapping[str, Sequence[Strip]]
    more: int  # strips that are left out

    @property
    def scale(self) -> str:
        """Return the numbers of the axis as a data URI."""
        return scale(self.axis)

    @property
    def rows(self) -> Iterator[tuple[str, list[tuple[Strip, str, str, str]]]]:
        """Yield, by group, each strip with its picture, how many victims are above the controls, and the median."""
        for name, strips in self.groups.items():
            yield name, [(one, strip(one.values, self.axis, one.band), _above(one), _median(one)) for one in strips]


def strips(summary: Summary, scores: Sequence[Score]) -> list[Strips]:
    """Return the strips of every cell of attacks, by measure."""
    rows = grouped((row for row in scores if not row.is_control), line_of)
    found = []
    groups = grouped((cell for cell in summary.cells if not cell.is_control), lambda cell: cell.group)
    by_measure: dict[str, list[Group]] = grouped(groups, lambda group: measure_of(groups[group]).name)
    for own in by_measure.values():
        measure = measure_of(groups[own[0]])
        best = best_controls(scores, measure.similarity)
        lines = {}
        for group in own:
            names = [unique_name(cell, groups[group]) for cell in groups[group]]
            lines[group] = [
                _strip(cell, name, rows.get(line_of(cell), ()), measure, best)
                for cell, name in zip(groups[group], names, strict=True)
            ]
        kept, left = _bounded(lines)
        values = [value for group in kept.values() for one in group for value in (*one.values, *one.controls)]
        finite = [value for value in values if math.isfinite(value)]
        low, high = min(0.0, *finite, 0.0), max(finite, default=1.0)
        axis = Axis(low, max(1.0, high) if measure.more else high or 1.0, measure.threshold)
        named = {group_name(group): strips for group, strips in kept.items()}
        found.append(Strips(measure, axis, named, left))
    return found


def measure_of(cells: Sequence[CellSummary]) -> Measure:
    """Return by what the cells of a group are compared."""
    if any(cell.token_accuracy is not None for cell in cells):
        return TOKENS
    return L2 if any(cell.tau is not None or cell.ssim is None for cell in cells) else SSIM


def _strip(
    cell: CellSummary, name: str, rows: Sequence[Score], measure: Measure, best: Mapping[tuple[object, ...], float]
) -> Strip:
    controls = [value for row in rows if (value := best_beside(row, best)) is not None and math.isfinite(value)]
    sign = 1.0 if measure.more else -1.0
    return Strip(name, cell, [measure.of(row) for row in rows], [sign * value for value in controls])


def _bounded(lines: Mapping[Group, list[Strip]]) -> tuple[dict[Group, list[Strip]], int]:
    """Return at most `MOST_STRIPS` strips that have any row, and how many are left out."""
    kept: dict[Group, list[Strip]] = {}
    left, room = 0, MOST_STRIPS
    for group, strips in lines.items():
        own = [one for one in strips if one.values]
        if own[:room]:
            kept[group] = own[:room]
        left, room = left + len(own[room:]), max(0, room - len(own))
    return kept, left


def _above(one: Strip) -> str:
    """Return how many of the victims are nearer to the truth than their best control."""
    compared = one.cell.comparison
    return f"{compared.better} of {compared.victims}" if compared else DASH


def _median(one: Strip) -> str:
    known = [value for value in one.values if math.isfinite(value)]
    return number(median(known)) if known else DASH
