"""An attack compared with the best control of the same victims."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from judges.intervals import Rate, least_p, rate, wilcoxon_greater
from judges.runs.identity import SWAPPED
from judges.runs.rows import Score

SIGNIFICANCE = 0.05

Best = Mapping[tuple[object, ...], float]
"""{(victim, and the attack to which a control belongs, if it is one's own): similarity}."""


@dataclass(frozen=True)
class Comparison:
    """An attack compared with the best control of the same victim, by SSIM. Answers of diverged attacks are included.

    Where SSIM is not defined, MSE and "solved" stand in for SSIM and "recognisable".

    Attributes:
        victims: number of victims with a control.
        better: number of answers that are more similar to the truth than the best control.
        succeeded: how many of these are recognisable, among all victims with a control.
        units: number of federations, or of batches of a single one, over which the test and the intervals are taken.
        p: one-sided Wilcoxon signed-rank p that the attack's SSIM tends to be above the best control's.
    """

    victims: int
    better: int
    succeeded: Rate
    units: int
    p: float

    @property
    def can_tell(self) -> bool:
        """Return whether the test of so few units can be significant at all."""
        return least_p(self.units) < SIGNIFICANCE


def best_controls(scores: Sequence[Score], by: Callable[[Score], float] = lambda row: row.similarity) -> Best:
    """Return the similarity of the best control of each victim: of those of all attacks, and of an attack's own.

    `by` says how similar an answer is, if not by `Score.similarity`.
    """
    best: dict[tuple[object, ...], float] = {}
    for score in scores:
        if score.is_control:
            key = (score.victim, *(_way(score) if score.control == SWAPPED else ()))
            best[key] = max(by(score), best.get(key, -math.inf))
    return best


def above_controls(scores: Sequence[Score]) -> list[tuple[Score, bool | None]]:
    """Return each row of an attack, and whether its answer is above the victim's best control; None if it has none."""
    best = best_controls(scores)
    pairs = [(row, best_beside(row, best)) for row in scores if not row.is_control]
    return [(row, None if control is None else row.similarity > control) for row, control in pairs]


def compare(rows: Sequence[Score], best: Best, *, seed: int, stream: str) -> Comparison | None:
    """Return the paired comparison of a cell with the controls of its victims; None if none has a control.

    Args:
        rows: rows of the cell.
        best: result of `best_controls`.
        seed, stream: of the bootstrap.
    """
    pairs = [(row, control) for row in rows if (control := best_beside(row, best)) is not None]
    if not pairs:
        return None
    units = units_of([row for row, _ in pairs])
    differences = [row.similarity - control for row, control in pairs]
    found = [row.success and difference > 0 for (row, _), difference in zip(pairs, differences, strict=True)]
    by_unit: dict[object, list[float]] = defaultdict(list)
    for unit, difference in zip(units, differences, strict=True):
        by_unit[unit].append(difference)
    return Comparison(
        victims=len(pairs),
        better=sum(difference > 0 for difference in differences),
        succeeded=rate(found, units, seed=seed, stream=stream),
        units=len(by_unit),
        p=wilcoxon_greater([sum(own) / len(own) for own in by_unit.values()]),
    )


def units_of(rows: Sequence[Score]) -> list[object]:
    """Return each row's unit of the bootstrap: its federation, or its batch if there is only one federation."""
    federations = [(row.seed, row.repeat) for row in rows]
    return list(federations) if len(set(federations)) > 1 else [row.capture_id for row in rows]


def best_beside(row: Score, best: Best) -> float | None:
    """Return the similarity of the best control of an attacked victim; None if it has none."""
    keys = (row.victim,), (row.victim, *_way(row))
    return max((best[key] for key in keys if key in best), default=None)


def _way(row: Score) -> tuple[object, ...]:
    """Return a key that an attack and its own control share."""
    return (*row.approach[1:], row.thresholding, row.tau)
