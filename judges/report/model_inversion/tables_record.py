"""What stands beside the attacks: controls, memorisation, and the complete record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from judges.report.figures import strip_figure
from judges.report.formats import DASH, number, out_of_100, rate_interval
from judges.report.model_inversion.tables import by_target, chance_of, last_rounds
from judges.report.model_inversion.wording import (
    NOTES,
    attack_name,
    count_of,
    is_class_mean,
    is_real,
    name_of_target,
    tone,
)
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table, reasons_table
from judges.runs.class_rows import ClassScore
from judges.runs.rows import CONTROL_PREFIX
from judges.summaries.model_inversion import Inversions, InversionSummary

_NARROW = "results layout inverted narrow"
_MEDIAN = "median distance"
_OF = "\N{RIGHT SINGLE QUOTATION MARK}"


class ControlRow(NamedTuple):
    """A control, or chance, whose cell is None."""

    cell: InversionSummary | None
    chance: float

    @property
    def accuracy(self) -> Cell:
        """Return its attack accuracy."""
        return _rate(self.cell, "accuracy") if self.cell else Cell(out_of_100(self.chance))


def control_sections(summary: Inversions) -> Iterator[Section]:
    """Yield the section on the controls of all targets, of a federation's those of the last round."""
    last = last_rounds(summary)
    groups = []
    for target, own in by_target([cell for cell in summary.cells if cell.control and cell.target in last]).items():
        chance = chance_of(summary, target)
        rows = [ControlRow(cell, chance) for cell in (*own, None)]
        groups.append(Group(rows, name_of_target(target)))
    columns: list[Column[ControlRow]] = [
        Column("Control", lambda row: Cell(attack_name(row.cell) if row.cell else "chance", css="plainer")),
        Column("n", lambda row: str(row.cell.accuracy.of) if row.cell else ""),
        Column("Attack accuracy, %", lambda row: row.accuracy, unit="[95 %]", beside="in bounds"),
        Column("Top-3, %", lambda row: out_of_100(row.cell.scores.mean.top3) if row.cell else ""),
        Column("Average confidence, %", lambda row: out_of_100(row.cell.scores.mean.confidence) if row.cell else ""),
        Column("DAA, %", lambda row: _rate(row.cell, "daa") if row.cell else "", unit="[95 %]", beside="in bounds"),
    ]
    if groups:
        table = Table(
            "Controls",
            columns,
            groups,
            grouped_by="Target",
            css=_NARROW,
            fold="All controls, by target",
            unfolded=len(groups) < 3,
        )
        yield Section("controls", "Controls", [table], lead=NOTES["controls"])


def memory_sections(summary: Inversions) -> Iterator[Section]:
    """Yield what memorisation is read off: attacks, class means and real examples, of the last rounds."""
    last = last_rounds(summary)
    shown = [
        cell
        for cell in summary.cells
        if cell.target in last and (not cell.control or is_class_mean(cell) or is_real(cell))
    ]
    groups = [
        Group(own, name_of_target(target))
        for target, own in by_target(shown).items()
        if not all(cell.control for cell in own)
    ]
    columns: list[Column[InversionSummary]] = [
        Column("Answers of", attack_name),
        Column("n", lambda cell: str(cell.accuracy.of)),
        Column("Nearest training example", lambda cell: number(cell.nearest_train), unit=_MEDIAN),
        Column("Nearest test example", lambda cell: DASH if is_real(cell) else number(cell.nearest_test), unit=_MEDIAN),
        Column("Nearer to train, %", _nearer, unit="[95 %]", beside="in bounds"),
    ]
    if groups:
        table = Table(
            "Memorisation",
            columns,
            groups,
            grouped_by="Target",
            css=_NARROW,
            note=NOTES["memory"],
            row_css=lambda cell: "control" if cell.control else "attack",
        )
        yield Section("memory", "Memorisation", [table])


def record_sections(summary: Inversions, rows: Sequence[ClassScore], *, unfolded: bool) -> Iterator[Section]:
    """Yield the complete record: every attack, why each verdict, and every answer."""
    own = by_target([cell for cell in summary.cells if not cell.control])
    groups = [Group(cells, name_of_target(target)) for target, cells in own.items()]
    columns: list[Column[InversionSummary]] = [
        Column("Cell", lambda cell: f"{attack_name(cell)} on {name_of_target(cell.target)}"),
        Column("Verdict", lambda cell: Cell(cell.verdict, css="nowrap"), left=True),
        Column("Reason", lambda cell: cell.reason, left=True, long=True),
    ]
    every = Table(
        "Results table",
        list(_columns()),
        groups,
        grouped_by="Target",
        css="results",
        fold=f"Every attack: {len(rows)} rows of one class each, controls included",
        unfolded=unfolded,
    )
    told = [cell for cells in own.values() for cell in cells]
    strips = {"title": "Every answer", "strips": list(_strips(rows, summary)), "note": ""}
    parts = [
        every,
        reasons_table("Reasons of the verdicts", columns, told, "Why each verdict"),
        Drawing("strips.html.j2", strips),
    ]
    yield Section("record", "Complete record", parts)


def _columns() -> Iterator[Column[InversionSummary]]:
    """Yield the columns of the record."""
    yield Column("Attack", _name, unit="and verdict", under="verdict")
    yield Column("n", lambda cell: Cell(str(cell.accuracy.of), under=(count_of(cell),)))
    yield Column("Accuracy, %", lambda cell: _rate(cell, "accuracy"), unit="[95 %]")
    yield Column("Top-3, %", lambda cell: out_of_100(cell.scores.mean.top3))
    yield Column("Confidence, %", lambda cell: out_of_100(cell.scores.mean.confidence), unit=f"judge{_OF}s")
    yield Column("DAA, %", lambda cell: _rate(cell, "daa"), unit="[95 %]")
    yield Column("Target, %", lambda cell: out_of_100(cell.target_confidence), unit="confidence")
    yield Column("Convinced, %", lambda cell: out_of_100(cell.convinced), unit="above a half")
    yield Column("Diverged", lambda cell: str(cell.diverged))
    yield Column("Density, %", lambda cell: out_of_100(cell.density))
    yield Column("Zeros, %", lambda cell: out_of_100(cell.zeros))
    yield Column("Iterations", lambda cell: number(cell.iterations, 0), unit="a class")
    yield Column("Seconds", lambda cell: number(cell.seconds), unit="a class")


def _name(cell: InversionSummary) -> Cell:
    return Cell(attack_name(cell), under=(Small(cell.verdict, f"fold verdict {tone(cell.verdict)}"),))


def _rate(cell: InversionSummary, which: str) -> Cell:
    """Return the accuracy or the DAA of a cell with its interval."""
    rate = cell.accuracy if which == "accuracy" else cell.daa
    return Cell(out_of_100(rate.share), rate_interval(rate))


def _nearer(cell: InversionSummary) -> Cell:
    rate = cell.nearer_train
    return Cell(DASH) if is_real(cell) else Cell(out_of_100(rate.share), rate_interval(rate))


def _strips(rows: Sequence[ClassScore], summary: Inversions) -> Iterator[dict[str, str]]:
    """Yield the figure of the judge's confidence in every answer, by target; of a federation's, of the last round."""
    last = last_rounds(summary)
    for target in dict.fromkeys(row.target for row in rows if row.target in last):
        values: dict[str, list[float]] = {}
        for row in sorted((row for row in rows if row.target == target), key=lambda row: row.is_control):
            name = f"{CONTROL_PREFIX if row.is_control else ''}{attack_name(row)}"
            values.setdefault(name, []).append(row.confidence)
        name, shown = name_of_target(target), f"judge{_OF}s confidence in every answer"
        figure = strip_figure(values, threshold=None, measure="judge's confidence", unit="answer")
        alt = f"{shown}, {name}, one line for each attack and control"
        yield {"name": name, "label": shown, "figure": figure, "alt": alt}
