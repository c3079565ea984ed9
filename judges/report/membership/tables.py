"""The tables of membership inferences, and what a terminal shows of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from judges.intervals import Rate
from judges.report.console import Printed, terminal_table
from judges.report.formats import DASH, grouped, number, out_of_100, percent
from judges.report.membership.wording import NOTES
from judges.report.table import Cell, Column, Group, Section, Table, rate_cell
from judges.report.words import Verdict, reasons_table, verdict_cell
from judges.runs.names import attack_name, target_name
from judges.runs.rows.classes import CENTRAL, FILE, Target
from judges.summaries.membership import Area, Memberships, MembershipSummary, read_memberships


def area_text(area: Area | None) -> str:
    """Return an area with its interval, "0.812 [0.790, 0.834]"; a dash where there is none."""
    return DASH if area is None else f"{number(area.mean, 3)} [{number(area.low, 3)}, {number(area.high, 3)}]"


def by_target(cells: Iterable[MembershipSummary]) -> dict[Target, list[MembershipSummary]]:
    """Return cells by what was attacked."""
    return grouped(cells, lambda cell: cell.target)


def accuracies(cell: MembershipSummary) -> str:
    """Return what the target gets right, in words; "" of an update."""
    train = f"{percent(cell.train_accuracy)} of the members, " if cell.train_accuracy is not None else ""
    return "" if cell.test_accuracy is None else f"{train}{percent(cell.test_accuracy)} of test examples right"


def results_table(summary: Memberships, *, controls: bool) -> Table[MembershipSummary]:
    """Return every attack by what was attacked, with or without the controls."""
    cells = [cell for cell in summary.cells if controls or not cell.control]
    groups = [Group(own, target_name(target), accuracies(own[0])) for target, own in by_target(cells).items()]
    columns: list[Column[MembershipSummary]] = [
        Column("Attack", attack_name, terminal="attack"),
        Column("n", _counts, unit="members + others", terminal="members + others"),
        Column("AUC", _area, unit="[95 %]", beside="under", terminal="AUC [95 %]"),
        Column("TPR at 1 %, %", lambda cell: _rate(cell.caught_1), unit="[95 %]", terminal="TPR at 1 %"),
        Column("TPR at 0.1 %, %", lambda cell: _rate(cell.caught_01), unit="[95 %]", terminal="TPR at 0.1 %"),
        Column("Balanced accuracy, %", lambda cell: out_of_100(cell.balanced_accuracy), terminal="balanced acc."),
        Column("Never saw them", lambda cell: area_text(cell.null), unit="AUC [95 %]", terminal="null AUC"),
        Column("Without any model", lambda cell: area_text(cell.blind), unit="AUC [95 %]", terminal="blind AUC"),
        Column("Verdict", lambda cell: verdict_cell(cell.verdict), left=True, terminal="verdict"),
    ]
    return Table(
        "Membership inference",
        columns,
        groups,
        grouped_by="Target",
        css="results layout inverted",
        row_css=lambda cell: "control" if cell.control else "attack",
    )


def attack_section(summary: Memberships) -> Section:
    """Return the section on attacks on trained models, global models and updates."""
    note = NOTES["attacks"]
    if any(cell.source not in (CENTRAL, FILE) for cell in summary.cells):
        note = f"{note} {NOTES['rounds']}"
    return Section("attacks", "Who is a member", [results_table(summary, controls=False)], note=note)


def record_section(summary: Memberships) -> Section:
    """Return the complete record: attacks and controls, shadow models and times, and why each verdict."""
    columns: list[Column[MembershipSummary]] = [
        Column("Attack or control", attack_name),
        Column("Models", lambda cell: str(cell.units), unit="or updates"),
        Column("Shadow models", lambda cell: str(cell.shadows)),
        Column("n", _counts, unit="members + others"),
        Column("AUC", _area, unit="[95 %]", beside="in bounds"),
        Column("TPR at 1 %, %", lambda cell: _rate(cell.caught_1), unit="[95 %]", beside="in bounds"),
        Column("TPR at 0.1 %, %", lambda cell: _rate(cell.caught_01), unit="[95 %]", beside="in bounds"),
        Column("Balanced accuracy, %", lambda cell: out_of_100(cell.balanced_accuracy)),
        Column("Seconds", lambda cell: number(cell.seconds)),
    ]
    groups = [Group(own, target_name(target)) for target, own in by_target(summary.cells).items()]
    fold = "Every attack and control, by target"
    every = Table("Record", columns, groups, grouped_by="Target", css="results", note=NOTES["controls"], fold=fold)
    reasons = reasons_table(
        (Cell(f"{attack_name(cell)} on {group.title}"), cell.verdict, cell.reason)
        for group in groups
        for cell in group.rows
        if not cell.control
    )
    return Section("record", "Controls and complete record", [every, reasons])


def _counts(cell: MembershipSummary) -> str:
    return f"{cell.members:,} + {cell.non_members:,}"


def _area(cell: MembershipSummary) -> Cell:
    text, beside = area_text(cell.auc).split(" ", 1)
    return Cell(text, beside)


def _rate(rate: Rate | None) -> Cell:
    return Cell(DASH) if rate is None else rate_cell(rate)


def results_of_memberships(run_dir: Path) -> Printed:
    """Return the results of a run of membership inference for a terminal."""
    return terminal_table(results_table(read_memberships(run_dir / "summary.json"), controls=True))


def verdicts_on_memberships(run_dir: Path) -> list[Verdict]:
    """Return the verdicts on the attacks of a run of membership inference."""
    cells = (cell for cell in read_memberships(run_dir / "summary.json").cells if not cell.control)
    return [Verdict(attack_name(cell), target_name(cell.target), cell.verdict, cell.reason) for cell in cells]
