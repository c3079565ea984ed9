"""The table of attacks on the global models of a federation, after each round that was kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from judges.report.figures import Point
from judges.report.formats import spread
from judges.report.model_inversion.figures import Rounds, rounds_figure
from judges.report.model_inversion.tables import Line, first_line, number_columns, verdict_column
from judges.report.model_inversion.wording import NOTES, count_of
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table
from judges.runs.class_rows import FEDERATION, Target
from judges.runs.names import attack_name, network_name
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary


@dataclass(frozen=True)
class Federation:
    """The global models of federations on one data set.

    Attributes:
        dataset: its name.
        targets: of each round and network, in the order of the rounds.
        cells: attacks on them, in the same order.
    """

    dataset: str
    targets: tuple[TargetSummary, ...]
    cells: tuple[InversionSummary, ...]


def federations(summary: Inversions) -> list[Federation]:
    """Return the targets of federations with the attacks on them, by data set and architecture."""
    told: dict[tuple[str, str], list[TargetSummary]] = defaultdict(list)
    for target in sorted(summary.targets, key=lambda target: (target.round, target.spiking)):
        if target.source == FEDERATION:
            told[target.dataset, target.family].append(target)
    attacks = [cell for cell in summary.cells if not cell.control]
    return [
        Federation(name, tuple(own), tuple(cell for target in own for cell in attacks if cell.target == target.target))
        for (name, _), own in told.items()
    ]


def round_section(summary: Inversions) -> Section:
    """Return the section on federations: a figure and a table for each."""
    tables = []
    for told in federations(summary):
        figure, names = _figure(told)
        alt = f"attack accuracy, judge's confidence and test accuracy against the round, {told.dataset}: {names}"
        tables.append(
            Table(
                f"Numbers of every round, {told.dataset}",
                list(_columns({target.target: target for target in told.targets})),
                [Group([first_line(cell, summary) for cell in told.cells])],
                name=told.dataset,
                above=Drawing("sweep.html.j2", [(f"Attacks against the round, {told.dataset}", alt, figure)]),
                css="results layout inverted",
                apart=lambda line: line.cell.round,
            )
        )
    return Section("rounds", "Along the rounds of the federation", tables, note=NOTES["rounds"])


def _columns(targets: Mapping[Target, TargetSummary]) -> Iterator[Column[Line]]:
    """Yield the columns of a federation whose targets are these."""

    def tested(line: Line) -> str:
        target = targets[line.cell.target]
        return spread(target.accuracy, target.accuracy_std)

    yield Column("Round", _round, unit="attack", beside="plainly", under="model")
    yield Column("n", lambda line: count_of(line.cell))
    yield Column("Target\N{RIGHT SINGLE QUOTATION MARK}s test accuracy, %", tested, aligned=True)
    yield from number_columns()
    yield verdict_column()


def _round(line: Line) -> Cell:
    cell = line.cell
    return Cell(str(cell.round), attack_name(cell), (Small(network_name(cell), "fold"),))


def _figure(told: Federation) -> tuple[str, str]:
    """Return the figure of a federation, a panel each network, as a data URI, and the networks."""
    panels = []
    for name in dict.fromkeys(network_name(target) for target in told.targets):
        accuracy, confidence = defaultdict[str, list[Point]](list), defaultdict[str, list[Point]](list)
        for cell in told.cells:
            if network_name(cell) == name:
                interval = cell.accuracy.low, cell.accuracy.high
                accuracy[attack_name(cell)].append(Point(cell.round, cell.accuracy.share, interval))
                confidence[attack_name(cell)].append(Point(cell.round, cell.scores.mean.confidence, None))
        tested = [Point(one.round, one.accuracy, None) for one in told.targets if network_name(one) == name]
        panels.append(Rounds(name, tested, accuracy, confidence))
    panels.sort(key=lambda panel: panel.title)  # ANN before SNN
    return rounds_figure(panels), ", ".join(panel.title for panel in panels)
