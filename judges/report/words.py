"""What a report says beside its numbers (words.toml of each kind), and how it prints verdicts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from judges.report.table import Cell, Column, Group, Table
from judges.runs.names import CONTROL, line_name
from judges.runs.rows import Score
from judges.summaries import class_verdicts, membership, verdicts
from judges.summaries.gradient_inversion import CellSummary

_TONES = (
    dict.fromkeys((verdicts.RECOVERED, class_verdicts.RECOVERED), "yes")
    | {membership.MEMBERS_TOLD: "yes", membership.SOME_TOLD: "some", membership.DIFFERENT: "open"}
    | dict.fromkeys(
        (verdicts.PARTLY, verdicts.TRACES, verdicts.LABELS, class_verdicts.PARTLY, class_verdicts.TRACES), "some"
    )
    | dict.fromkeys((*verdicts.OPEN, class_verdicts.FAILED, class_verdicts.BLIND, class_verdicts.DIVERGED), "open")
    | dict.fromkeys((verdicts.CONTROL, class_verdicts.CONTROL), "control")
)


class Verdict(NamedTuple):
    """What was found by one attack on one group of victims, or on one kind of target, and why that is said."""

    attack: str
    victims: str
    verdict: str
    reason: str


class Words(NamedTuple):
    """The threat model, (term, meaning) of what needs a definition, and the notes on sections and tables."""

    threat_model: str
    definitions: tuple[tuple[str, str], ...]
    notes: dict[str, str]


def read_words(path: Path) -> Words:
    """Return the words of one kind of report."""
    words = tomllib.loads(path.read_text(encoding="utf-8"))
    return Words(words["threat_model"], tuple(words["definitions"].items()), words["notes"])


def tone(verdict: str) -> str:
    """Return how a verdict is marked: "yes" for a leak, "some" for part of one, "no", "open" where nothing follows
    about what another attack would find, or "control".
    """
    return _TONES.get(verdict, "no")


def has_namesake(line: CellSummary | Score, lines: Sequence[CellSummary]) -> bool:
    """Return whether another attack among the lines has the same name, so that only the cell tells them apart."""
    return not line.is_control and [line_name(other) for other in lines].count(line_name(line)) > 1


def unique_name(line: CellSummary | Score, lines: Sequence[CellSummary]) -> str:
    """Return the name of an attack or control in a figure, with that of the cell where two lines share it."""
    name = f"{CONTROL if line.is_control else ''}{line_name(line)}"
    return f"{name} ({line.cell})" if has_namesake(line, lines) else name


def verdict_cell(verdict: str) -> Cell:
    """Return a verdict in its tone."""
    return Cell(verdict, css=f"verdict {tone(verdict)}")


def reasons_table(lines: Iterable[tuple[Cell, str, str]]) -> Table[tuple[Cell, str, str]]:
    """Return why each verdict was reached, from (cell, verdict, reason)."""
    columns: list[Column[tuple[Cell, str, str]]] = [
        Column("Cell", lambda line: line[0]),
        Column("Verdict", lambda line: Cell(line[1], css="nowrap"), left=True),
        Column("Reason", lambda line: line[2], left=True, long=True),
    ]
    label, why = "Reasons of the verdicts", "Why each verdict"
    return Table(label, columns, [Group(list(lines))], name=why, fold=why, css="plain reasons", tex=False)
