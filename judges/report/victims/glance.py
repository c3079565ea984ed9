"""The first thing on a page: the truth of one victim of each setting beside what the attacks answered to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from judges.report.formats import DASH, grouped, number
from judges.report.pictures import Shot, shot
from judges.report.victims.folds import Seen, Victim
from judges.report.words import tone
from judges.runs.pictures import ANSWER, TRUTH
from judges.summaries.gradient_inversion import CellSummary

MOST_SETTINGS, MOST_SHOWN = 6, 8
"""How many settings, and how many answers of each, stand at the top."""


class Answer(NamedTuple):
    """An answer with its attack, how near it is, and the tone of the cell's verdict."""

    name: str
    shot: Shot
    near: str
    tone: str


class Glance(NamedTuple):
    """A victim at the top of the page."""

    victim: Victim
    truth: Shot
    answers: tuple[Answer, ...]
    more: int  # answers that are left out


def glances(victims: Sequence[Victim]) -> list[Glance]:
    """Return one victim of each setting, of which pictures may be shown: by rank, not by appearance.

    It is the one of median similarity under the attack that is best on average, among those that most cells have.
    """
    drawn = [victim for victim in victims if victim.truth.uri and victim.seen]
    return [_glance(_middle(own)) for own in list(grouped(drawn, lambda one: one.key[0]).values())[:MOST_SETTINGS]]


def _middle(victims: Sequence[Victim]) -> Victim:
    most = max(len(victim.seen) for victim in victims)
    known = [victim for victim in victims if len(victim.seen) == most]
    best = min((seen.cell for seen in known[0].seen), key=_distance)
    return sorted(known, key=lambda victim: _rank(victim, best))[(len(known) - 1) // 2]


def _distance(cell: CellSummary) -> float:
    """Return what is the less the better the answers of a cell are."""
    if cell.tau is None and cell.ssim is not None and cell.ssim.mean is not None:
        return -cell.ssim.mean
    return float("inf") if cell.l2.mean is None else cell.l2.mean


def _rank(victim: Victim, best: CellSummary) -> float:
    """Return what is the less the nearer the answer of a cell is to a victim."""
    for seen in victim.seen:
        if seen.cell is best:
            numbers = seen.pictures.numbers
            return -numbers["ssim"][seen.at] if "ssim" in numbers and best.tau is None else numbers["l2"][seen.at]
    return 0.0


def ways(answers: Sequence[Seen]) -> list[tuple[str, Seen]]:
    """Return where the answer of each attack to a victim is, by its name; of thresholds that of the least mean l2."""
    best: dict[object, Seen] = {}
    for seen in answers:
        key = seen.cell.approach, seen.cell.thresholding, "" if seen.cell.tau is not None else seen.cell.cell
        if key not in best or _distance(seen.cell) < _distance(best[key].cell):
            best[key] = seen
    return [(seen.name, seen) for seen in best.values()]


def _glance(victim: Victim) -> Glance:
    """Return a victim with the answers of all attacks."""
    chosen = [seen for _, seen in ways(victim.seen)]
    truth = replace(_drawn(victim.seen[0], TRUTH, f"truth, label {victim.label}, of {victim.key[1]}"), link=victim.id)
    answers = tuple(_answer(seen, victim) for seen in chosen[:MOST_SHOWN])
    return Glance(victim, truth, answers, len(chosen) - len(answers))


def _answer(seen: Seen, victim: Victim) -> Answer:
    drawn = _drawn(seen, ANSWER, f"answer of {seen.name} to {victim.key[1]}")
    shown = tone(seen.cell.verdict) if seen.cell.tau is None else ""
    return Answer(seen.name, replace(drawn, link=victim.id), nearness(seen), shown)


def nearness(seen: Seen) -> str:
    """Return how near an answer is: its SSIM, or its l2 where thresholding was tried."""
    numbers = seen.pictures.numbers
    if seen.cell.tau is not None:
        return f"l2 {number(numbers['l2'][seen.at])}"
    return number(numbers["ssim"][seen.at]) if "ssim" in numbers else DASH


def _drawn(seen: Seen, kind: str, alt: str) -> Shot:
    return shot(seen.pictures, kind, seen.at, alt)
