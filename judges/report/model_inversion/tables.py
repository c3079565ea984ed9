"""The tables of attacks, in the layout of the paper's Tables 3 and 4, and what a terminal shows of all attacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import NamedTuple

from judges.report.console import Printed, terminal_table
from judges.report.formats import grouped, out_of_100, rate_interval, spread, times
from judges.report.model_inversion.wording import NOTES
from judges.report.table import Cell, Column, Group, Section, Small, Table
from judges.report.words import Verdict, verdict_cell
from judges.runs.identity import CLASS_MEAN, REAL, SHUFFLED
from judges.runs.identity import Group as Victims
from judges.runs.names import attack_name, in_words, network_name, target_name
from judges.runs.rows.classes import CENTRAL, FEDERATION, Repeated, Target
from judges.summaries.model_inversion import Inversions, InversionSummary, read_inversions

BESIDE = "brainleaks_v2"  # the attack on a spiking network that stands beside those on an ANN in Table 4
OURS, DRAWS, PAPER = "attack", "draws", "paper"  # kinds of lines, and their classes on the page
_SCORES = (
    ("Attack accuracy, %", "[95 %]", "accuracy % [95 %]"),
    ("Top-3, %", "", "top-3"),
    ("Average confidence, %", "", "conf."),
    ("DAA, %", "[95 %]", "DAA"),
)
"""Heading, unit and heading in a terminal of what is measured of an attack."""


class Line(NamedTuple):
    """Numbers of one attack that are of one kind, so that none is taken for another."""

    kind: str  # OURS, DRAWS or PAPER
    cell: InversionSummary
    label: str  # what the numbers are over
    values: Sequence[str]  # attack accuracy, top-3, average confidence, DAA, out of 100
    intervals: Sequence[str] = ("",) * 4
    controls: Mapping[str, float | None] = {}  # {control, or chance: its attack accuracy}


def attack_sections(summary: Inversions) -> tuple[Section, Section]:
    """Return Tables 3 and 4: attacks on spiking targets, and on ANNs beside their twins."""
    central = [cell for cell in summary.cells if cell.source == CENTRAL and not cell.control]
    spiking, compared = [], []
    for name, own in grouped(central, lambda cell: cell.dataset).items():
        ann, snn = ([cell for cell in own if cell.spiking == kind] for kind in (False, True))
        spiking.append(Group([line for cell in snn for line in _lines(cell, summary)], in_words(name)))
        both = [*ann, *(cell for cell in snn if cell.attack == BESIDE)] if ann else []
        compared.append(Group([line for cell in both for line in _lines(cell, summary)], in_words(name)))
    return (
        _attack_section(3, "Attacks on spiking networks", NOTES["spiking"], spiking),
        _attack_section(4, "ANN beside SNN", NOTES["compared"], compared),
    )


def _attack_section(number: int, title: str, note: str, groups: Sequence[Group[Line]]) -> Section:
    """Return the section of one of the two tables."""
    paper = any(line.kind == PAPER for group in groups for line in group.rows)
    columns: list[Column[Line]] = [
        Column("Attack", _name, unit="what the numbers are over", under="model, what the numbers are over"),
        Column("n", lambda line: count_of(line.cell) if line.kind == OURS else ""),
        *score_columns(),
        verdict_column(),
    ]
    table = Table(
        f"Table {number}",
        columns,
        [group for group in groups if group.rows],
        grouped_by="Data set",
        note=f"{note} {NOTES['attacks_paper']}" if paper else note,
        css="results layout inverted",
        row_css=lambda line: line.kind,
    )
    return Section(f"table-{number}", title, [table], reference=f"Table {number}")


def results_table(summary: Inversions) -> Table[Line]:
    """Return every attack and control by what was attacked, whose accuracy stands beside it, for a terminal.

    Deviations are over attacks with other seeds; those over draws of one answer are in the report.
    """
    tested = {target.target: spread(target.accuracy, target.accuracy_std) for target in summary.targets}
    groups = [
        Group([first_line(cell, summary) for cell in own], f"{target_name(target)}\ntest accuracy {tested[target]}")
        for target, own in by_target(summary.cells).items()
    ]
    columns: list[Column[Line]] = [
        Column("Attack", _name_in_terminal, terminal="attack", under="verdict"),
        Column("n", lambda line: str(line.cell.accuracy.of), terminal="n"),
        *score_columns(),
        Column(
            "Target",
            lambda line: "" if line.cell.control else out_of_100(line.cell.target_confidence),
            terminal="target",
        ),
    ]
    if any(cell.transfer for cell in summary.cells):
        columns.append(Column("Second target", _second, terminal="second"))
    return Table("Results table", columns, groups, row_css=lambda line: "control" if line.cell.control else OURS)


def first_line(cell: InversionSummary, summary: Inversions) -> Line:
    """Return our numbers of a cell."""
    return next(_lines(cell, summary))


def score_columns() -> Iterator[Column[Line]]:
    """Yield attack accuracy, top-3, confidence and DAA, and the accuracies of the controls."""
    for place, (heading, unit, terminal) in enumerate(_SCORES):
        cell, brief = partial(_score, place=place), bool(place)
        yield Column(heading, cell, unit=unit, beside="under", aligned=True, terminal=terminal, brief=brief)
    yield Column("Controls: attack accuracy, %", _controls, left=True)


def verdict_column() -> Column[Line]:
    """Return the column of the verdicts, which are ours."""
    return Column("Verdict", lambda line: verdict_cell(line.cell.verdict) if line.kind == OURS else "", left=True)


def count_of(cell: InversionSummary) -> str:
    """Return targets x attacks on each x classes."""
    return times((cell.targets, cell.repeats, cell.classes))


def by_target(cells: Iterable[InversionSummary]) -> dict[Target, list[InversionSummary]]:
    """Return cells by what was attacked."""
    return grouped(cells, lambda cell: cell.target)


def beside(cell: InversionSummary, summary: Inversions) -> dict[str, float | None]:
    """Return the attack accuracy of the controls of a cell, and of chance."""
    controls = {other.approach: other.accuracy.share for other in summary.cells if other.target == cell.target}
    return {
        "shuffled": controls.get((SHUFFLED, *cell.approach[1:])),
        "class mean": controls.get((CLASS_MEAN, "", ())),
        "real": controls.get((REAL, "", ())),
        "chance": chance_of(summary, cell.target),
    }


def chance_of(summary: Inversions, target: Target) -> float:
    """Return the attack accuracy of guessing: 1 / classes of the data set."""
    return next(1.0 / other.classes for other in summary.targets if other.target == target)


def last_rounds(summary: Inversions) -> set[Target]:
    """Return all targets but those of a federation's earlier rounds."""
    last: dict[Victims, int] = {}
    for target in summary.targets:
        if target.source == FEDERATION:
            last[target.group] = max(target.round, last.get(target.group, 0))
    return {
        target.target for target in summary.targets if target.source != FEDERATION or target.round == last[target.group]
    }


def _lines(cell: InversionSummary, summary: Inversions) -> Iterator[Line]:
    """Yield the lines of a cell, each of one kind: ours, then over draws, then the paper's, those that there are."""
    intervals, count = (rate_interval(cell.accuracy), "", "", rate_interval(cell.daa)), cell.scores.count
    over = "one attack" if count == 1 else f"mean \N{PLUS-MINUS SIGN} over {count} attacks"
    yield Line(OURS, cell, over, _spreads(cell.scores), intervals, beside(cell, summary))
    if cell.draws:
        over = f"mean \N{PLUS-MINUS SIGN} over {cell.draws.count} draws of one answer"
        yield Line(DRAWS, cell, over, _spreads(cell.draws))
    if paper := cell.published:
        means = (paper.attack_accuracy, paper.top3, paper.confidence, paper.daa)
        values = map(spread, means, (paper.accuracy_std, paper.top3_std, None, None))
        over = "paper" if paper.accuracy_std is None else "paper, mean \N{PLUS-MINUS SIGN} over its draws"
        yield Line(PAPER, cell, over, list(values))


def _spreads(scores: Repeated) -> list[str]:
    return list(map(spread, astuple(scores.mean), astuple(scores.std) if scores.std else (None,) * 4))


def _name(line: Line) -> Cell:
    if line.kind != OURS:
        return Cell(line.label, css="over")
    return Cell(attack_name(line.cell), under=(Small(network_name(line.cell), "fold"), Small(line.label, "over")))


def _name_in_terminal(line: Line) -> Cell:
    cell = line.cell
    if cell.control:
        return Cell(f"control: {attack_name(cell)}")
    return Cell(attack_name(cell), under=(cell.verdict, f"{cell.diverged} diverged" if cell.diverged else ""))


def _second(line: Line) -> str:
    """Return how often a model that the attack never saw believes in the class."""
    return out_of_100(line.cell.transfer.second.share) if line.cell.transfer else ""


def _score(line: Line, place: int) -> Cell:
    return Cell(line.values[place], line.intervals[place], css="" if place or line.kind != OURS else "main")


def _controls(line: Line) -> Cell:
    known = [f"{name} {out_of_100(share)}" for name, share in line.controls.items() if share is not None]
    text = ", ".join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in known)
    return Cell("", under=(Small(text, "fold"),), css="fold")


def results_of_inversions(run_dir: Path) -> Printed:
    """Return the results of a run of model inversion for a terminal."""
    return terminal_table(results_table(read_inversions(run_dir / "summary.json")))


def verdicts_on_inversions(run_dir: Path) -> list[Verdict]:
    """Return the verdicts on the attacks of a run of model inversion."""
    cells = (cell for cell in read_inversions(run_dir / "summary.json").cells if not cell.control)
    return [Verdict(attack_name(cell), target_name(cell.target), cell.verdict, cell.reason) for cell in cells]
