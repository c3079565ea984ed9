"""What targets that an attack never saw make of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from judges.intervals import Rate, rate
from judges.runs.rows.classes import ClassScore


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What the attacked model makes of its answers, and what models make of them that the attack never saw.

    Attributes:
        targets: number of these further models.
        own: how often the attacked model believes in the class more than in any other, with an interval over the
            classes as units.
        own_confidence: its mean posterior of the class.
        second: how often one of the further models does so.
        second_confidence: their mean posterior.
    """

    targets: int
    own: Rate
    own_confidence: float
    second: Rate
    second_confidence: float


def transfer_of(rows: Sequence[ClassScore], seed: int) -> Transfer | None:
    """Return what the targets make of the answers of a cell; None where a row was not tried on further ones."""
    first = rows[0]
    known = [row for row in rows if row.second_success is not None]
    if len(known) < len(rows):
        return None
    each = [(row, at < (row.second_success or 0)) for row in rows for at in range(row.second_targets)]
    flags, owners = [flag for _, flag in each], [row for row, _ in each]
    return Transfer(
        targets=first.second_targets,
        own=class_rate([row.own_success is True for row in rows], rows, seed, f"{first.cell} own target"),
        own_confidence=mean(row.own_confidence or 0.0 for row in rows),
        second=class_rate(flags, owners, seed, f"{first.cell} second target"),
        second_confidence=mean(row.second_confidence or 0.0 for row in rows),
    )


def class_rate(flags: Sequence[bool], rows: Sequence[ClassScore], seed: int, stream: str) -> Rate:
    """Return how often a flag is set; whole classes are resampled, since the answers for one class are similar."""
    return rate(flags, [row.label for row in rows], seed=seed, stream=stream)
