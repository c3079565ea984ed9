"""What stands beside the attacks: controls, memorisation, and the complete record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from judges.report.figures import strip_figure
from judges.report.formats import DASH, number, out_of_100, rate_interval
from judges.report.model_inversion.tables import by_target, chance_of, last_rounds
from judges.report.model_inversion.wording import NOTES, count_of, tone
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table
from judges.runs.class_rows import ClassScore
from judges.runs.identity import CLASS_MEAN, REAL
from judges.runs.names import CONTROL, attack_name, target_name
from judges.summaries.model_inversion import Inversions, InversionSummary

_NARROW = "results layout inverted narrow"
_OF = "\N{RIGHT SINGLE QUOTATION MARK}"


ControlRow = tuple[InversionSummary | None, float]
"""A control, or None for chance, and the attack accuracy of chance."""


def control_section(summary: Inversions) -> Section:
    """Return the section on the controls of all targets, of a federation's those of the last round."""
    last = last_rounds(summary)
    own = by_target([cell for cell in summary.cells if cell.control and cell.target in last])
    groups = [
        Group([(cell, chance_of(summary, target)) for cell in (*cells, None)], target_name(target))
        for target, cells in own.items()
    ]
    columns: list[Column[ControlRow]] = [
        Column("Control", lambda row: Cell(attack_name(row[0]) if row[0] else "chance", css="plainer")),
        Column("n", _unless_chance(lambda cell: str(cell.accuracy.of))),
        Column("Attack accuracy, %", _accuracy_or_chance, unit="[95 %]", beside="in bounds"),
        Column("Top-3, %", _unless_chance(lambda cell: out_of_100(cell.scores.mean.top3))),
        Column("Average confidence, %", _unless_chance(lambda cell: out_of_100(cell.scores.mean.confidence))),
        Column("DAA, %", _unless_chance(_daa), unit="[95 %]", beside="in bounds"),
    ]
    fold, few = "All controls, by target", len(groups) < 3
    table = Table("Controls", columns, groups, grouped_by="Target", css=_NARROW, fold=fold, unfolded=few)
    return Section("controls", "Controls", [table], lead=NOTES["controls"])


def memory_section(summary: Inversions) -> Section:
    """Return what memorisation is read off: attacks, class means and real examples, of the last rounds."""
    last = last_rounds(summary)
    yardsticks = [cell for cell in summary.cells if cell.control in ("", CLASS_MEAN, REAL)]
    own = by_target([cell for cell in yardsticks if cell.target in last])
    attacked = {target: cells for target, cells in own.items() if not all(cell.control for cell in cells)}
    columns: list[Column[InversionSummary]] = [
        Column("Answers of", attack_name),
        Column("n", lambda cell: str(cell.accuracy.of)),
        Column("Nearest training example", lambda cell: number(cell.nearest_train), unit="median distance"),
        Column("Nearest test example", _nearest_test, unit="median distance"),
        Column("Nearer to train, %", _nearer, unit="[95 %]", beside="in bounds"),
    ]
    table = Table(
        "Memorisation",
        columns,
        [Group(cells, target_name(target)) for target, cells in attacked.items()],
        grouped_by="Target",
        css=_NARROW,
        note=NOTES["memory"],
        row_css=lambda cell: "control" if cell.control else "attack",
    )
    return Section("memory", "Memorisation", [table])


def record_section(summary: Inversions, rows: Sequence[ClassScore], *, unfolded: bool) -> Section:
    """Return the complete record: every attack, why each verdict, and every answer."""
    own = by_target([cell for cell in summary.cells if not cell.control])
    columns: list[Column[InversionSummary]] = [
        Column("Cell", lambda cell: f"{attack_name(cell)} on {target_name(cell.target)}"),
        Column("Verdict", lambda cell: Cell(cell.verdict, css="nowrap"), left=True),
        Column("Reason", lambda cell: cell.reason, left=True, long=True),
    ]
    every = Table(
        "Results table",
        list(_columns()),
        [Group(cells, target_name(target)) for target, cells in own.items()],
        grouped_by="Target",
        css="results",
        fold=f"Every attack: {len(rows)} rows of one class each, controls included",
        unfolded=unfolded,
    )
    told, why = [cell for cells in own.values() for cell in cells], "Why each verdict"
    reasons = Table("Reasons of the verdicts", columns, [Group(told)], name=why, fold=why, css="plain reasons")
    strips = Drawing("strips.html.j2", list(_strips(rows, summary)), "Every answer")
    return Section("record", "Complete record", [every, reasons, strips])


def _columns() -> Iterator[Column[InversionSummary]]:
    """Yield the columns of the record."""
    yield Column("Attack", _name, unit="and verdict", under="verdict")
    yield Column("n", lambda cell: Cell(str(cell.accuracy.of), under=(count_of(cell),)))
    yield Column("Accuracy, %", _accuracy, unit="[95 %]")
    yield Column("Top-3, %", lambda cell: out_of_100(cell.scores.mean.top3))
    yield Column("Confidence, %", lambda cell: out_of_100(cell.scores.mean.confidence), unit=f"judge{_OF}s")
    yield Column("DAA, %", _daa, unit="[95 %]")
    yield Column("Target, %", lambda cell: out_of_100(cell.target_confidence), unit="confidence")
    yield Column("Convinced, %", lambda cell: out_of_100(cell.convinced), unit="above a half")
    yield Column("Diverged", lambda cell: str(cell.diverged))
    yield Column("Density, %", lambda cell: out_of_100(cell.density))
    yield Column("Zeros, %", lambda cell: out_of_100(cell.zeros))
    yield Column("Iterations", lambda cell: number(cell.iterations, 0), unit="a class")
    yield Column("Seconds", lambda cell: number(cell.seconds), unit="a class")


def _name(cell: InversionSummary) -> Cell:
    return Cell(attack_name(cell), under=(Small(cell.verdict, f"fold verdict {tone(cell.verdict)}"),))


def _accuracy(cell: InversionSummary) -> Cell:
    return Cell(out_of_100(cell.accuracy.share), rate_interval(cell.accuracy))


def _accuracy_or_chance(row: ControlRow) -> Cell:
    return _accuracy(row[0]) if row[0] else Cell(out_of_100(row[1]))


def _daa(cell: InversionSummary) -> Cell:
    return Cell(out_of_100(cell.daa.share), rate_interval(cell.daa))


def _unless_chance(told: Callable[[InversionSummary], Cell | str]) -> Callable[[ControlRow], Cell | str]:
    """Return what a column says of a control, and nothing of chance."""
    return lambda row: told(row[0]) if row[0] else ""


def _nearest_test(cell: InversionSummary) -> str:
    return DASH if cell.control == REAL else number(cell.nearest_test)


def _nearer(cell: InversionSummary) -> Cell:
    rate = cell.nearer_train
    return Cell(DASH) if cell.control == REAL else Cell(out_of_100(rate.share), rate_interval(rate))


def _strips(rows: Sequence[ClassScore], summary: Inversions) -> Iterator[tuple[str, str, str]]:
    """Yield the figure of the judge's confidence in every answer, by target; of a federation's, of the last round."""
    last = last_rounds(summary)
    for target in dict.fromkeys(row.target for row in rows if row.target in last):
        values: dict[str, list[float]] = {}
        for row in sorted((row for row in rows if row.target == target), key=lambda row: row.is_control):
            name = f"{CONTROL if row.is_control else ''}{attack_name(row)}"
            values.setdefault(name, []).append(row.confidence)
        name, shown = target_name(target), f"judge{_OF}s confidence in every answer"
        figure = strip_figure(values, threshold=None, measure="judge's confidence", unit="answer")
        yield name, shown, figure
