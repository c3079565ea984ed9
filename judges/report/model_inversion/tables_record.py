"""What stands beside the attacks: controls, memorisation, transfer, and the complete record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from judges.intervals import Rate
from judges.report.figures import strip_figure
from judges.report.formats import DASH, number, out_of_100
from judges.report.model_inversion.tables import by_target, chance_of, count_of, last_rounds
from judges.report.model_inversion.wording import NOTES
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table, rate_cell
from judges.report.words import reasons_table, tone
from judges.runs.identity import CLASS_MEAN, REAL
from judges.runs.names import CONTROL, attack_name, target_name
from judges.runs.rows.classes import ClassScore, Target
from judges.summaries.model_inversion import Inversions, InversionSummary
from judges.summaries.transfer import Transfer

_NARROW = "results layout inverted narrow"
_OF = "\N{RIGHT SINGLE QUOTATION MARK}"

ControlRow = tuple[InversionSummary | None, float]  # a control, or None for chance, and the attack accuracy of chance


def control_section(summary: Inversions) -> Section:
    """Return the section on the controls of all targets; of a federation, of those of the last round."""
    last = last_rounds(summary)
    own = by_target([cell for cell in summary.cells if cell.control and cell.target in last])
    groups = [
        Group([(cell, chance_of(summary, target)) for cell in (*cells, None)], target_name(target))
        for target, cells in own.items()
    ]

    def of(cell: Callable[[InversionSummary], Cell | str]) -> Callable[[ControlRow], Cell | str]:
        return lambda row: cell(row[0]) if row[0] else ""

    columns: list[Column[ControlRow]] = [
        Column("Control", lambda row: Cell(attack_name(row[0]) if row[0] else "chance", css="plainer")),
        Column("n", of(lambda cell: str(cell.accuracy.of))),
        Column("Attack accuracy, %", _accuracy_or_chance, unit="[95 %]", beside="in bounds"),
        Column("Top-3, %", of(lambda cell: out_of_100(cell.scores.mean.top3))),
        Column("Average confidence, %", of(lambda cell: out_of_100(cell.scores.mean.confidence))),
        Column("DAA, %", of(lambda cell: rate_cell(cell.daa)), unit="[95 %]", beside="in bounds"),
    ]
    fold, few = "All controls, by target", len(groups) < 3
    table = Table("Controls", columns, groups, grouped_by="Target", css=_NARROW, fold=fold, unfolded=few)
    return Section("controls", "Controls", [table], lead=NOTES["controls"])


def _accuracy_or_chance(row: ControlRow) -> Cell:
    return rate_cell(row[0].accuracy) if row[0] else Cell(out_of_100(row[1]))


def memory_section(summary: Inversions) -> Section:
    """Return what shows memorisation: attacks, class means and real examples, of the last rounds."""
    last = last_rounds(summary)
    own = by_target([c for c in summary.cells if c.control in ("", CLASS_MEAN, REAL) and c.target in last])
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
        [Group(cells, target_name(target)) for target, cells in own.items() if not all(c.control for c in cells)],
        grouped_by="Target",
        css=_NARROW,
        note=NOTES["memory"],
        row_css=lambda cell: "control" if cell.control else "attack",
    )
    return Section("memory", "Memorisation", [table])


def _nearest_test(cell: InversionSummary) -> str:
    return DASH if cell.control == REAL else number(cell.nearest_test)


def _nearer(cell: InversionSummary) -> Cell:
    return Cell(DASH) if cell.control == REAL else rate_cell(cell.nearer_train)


def transfer_section(summary: Inversions) -> Section:
    """Return the section on answers and controls that were tried on further targets of each kind; empty without any."""
    groups = [
        Group([cell for cell in cells if cell.transfer], target_name(target))
        for target, cells in by_target(summary.cells).items()
    ]
    columns: list[Column[InversionSummary]] = [
        Column("Answers of", attack_name),
        Column("n", lambda cell: str(cell.accuracy.of)),
        Column("Success, %", _rate_of(lambda told: told.own), unit="[95 %]", span="Attacked model", beside="in bounds"),
        Column("Confidence, %", _share_of(lambda told: told.own_confidence), span="Attacked model"),
        Column("Success, %", _rate_of(lambda told: told.second), unit="[95 %]", span="Model of another seed",
               beside="in bounds"),
        Column("Confidence, %", _share_of(lambda told: told.second_confidence), span="Model of another seed"),
        Column("Judge, %", lambda cell: out_of_100(cell.accuracy.share), unit="attack accuracy"),
    ]  # fmt: skip
    table = Table(
        "Transfer",
        columns,
        [group for group in groups if group.rows],
        grouped_by="Target",
        css="results layout inverted narrow",
        note=NOTES["transfer"],
        row_css=lambda cell: "control" if cell.control else "attack",
    )
    return Section("transfer", "Transfer to models of another seed", [table])


def _rate_of(of: Callable[[Transfer], Rate]) -> Callable[[InversionSummary], Cell]:
    return lambda cell: rate_cell(of(cell.transfer)) if cell.transfer else Cell("")


def _share_of(of: Callable[[Transfer], float]) -> Callable[[InversionSummary], str]:
    return lambda cell: out_of_100(of(cell.transfer)) if cell.transfer else ""


def record_section(summary: Inversions, rows: Sequence[ClassScore], *, unfolded: bool) -> Section:
    """Return the complete record: every attack, why each verdict, and every answer."""
    groups = [
        Group(cells, target_name(target))
        for target, cells in by_target([cell for cell in summary.cells if not cell.control]).items()
    ]
    columns: list[Column[InversionSummary]] = [
        Column("Attack", _name, unit="and verdict", under="verdict"),
        Column("n", lambda cell: Cell(str(cell.accuracy.of), under=(count_of(cell),))),
        Column("Accuracy, %", lambda cell: rate_cell(cell.accuracy), unit="[95 %]"),
        Column("Top-3, %", lambda cell: out_of_100(cell.scores.mean.top3)),
        Column("Confidence, %", lambda cell: out_of_100(cell.scores.mean.confidence), unit=f"judge{_OF}s"),
        Column("DAA, %", lambda cell: rate_cell(cell.daa), unit="[95 %]"),
        Column("Target, %", lambda cell: out_of_100(cell.target_confidence), unit="confidence"),
        Column("Convinced, %", lambda cell: out_of_100(cell.convinced), unit="above a half"),
        Column("Diverged", lambda cell: str(cell.diverged)),
        Column("Density, %", lambda cell: out_of_100(cell.density)),
        Column("Zeros, %", lambda cell: out_of_100(cell.zeros)),
        Column("Iterations", lambda cell: number(cell.iterations, 0), unit="per class"),
        Column("Seconds", lambda cell: number(cell.seconds), unit="per class"),
    ]
    fold = f"Every attack: {len(rows)} rows of one class each, controls included"
    every = Table("Results table", columns, groups, grouped_by="Target", css="results", fold=fold, unfolded=unfolded)
    reasons = reasons_table(
        (Cell(f"{attack_name(cell)} on {group.title}"), cell.verdict, cell.reason)
        for group in groups
        for cell in group.rows
    )
    strips = Drawing("strips.html.j2", list(_strips(rows, summary)), "Every answer")
    return Section("record", "Complete record", [every, reasons, strips])


def _name(cell: InversionSummary) -> Cell:
    return Cell(attack_name(cell), under=(Small(cell.verdict, f"fold verdict {tone(cell.verdict)}"),))


def _strips(rows: Iterable[ClassScore], summary: Inversions) -> Iterator[tuple[str, str, str]]:
    """Yield the figure of the judge's confidence in every answer, by target; of a federation, for the last round."""
    last = last_rounds(summary)
    answers: dict[Target, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    controls = set()
    for row in sorted(rows, key=lambda row: row.is_control):
        if row.target in last:
            name = f"{CONTROL if row.is_control else ''}{attack_name(row)}"
            answers[row.target][name].append(row.confidence)
            controls |= {name} if row.is_control else set()
    for target, values in answers.items():
        figure = strip_figure(values, controls=controls, threshold=None, measure="judge's confidence", unit="answer")
        yield target_name(target), f"judge{_OF}s confidence in every answer", figure
