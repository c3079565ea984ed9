"""The table of attacks on the global models of a federation, after each round that was kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from judges.figures.files import Draw, captioned
from judges.report.curves import Panel, Sweep, in_percent, lines_figure, panel_drawing
from judges.report.figures import Point
from judges.report.formats import grouped, joined, spread
from judges.report.model_inversion.tables import Line, count_of, first_line, score_columns, verdict_column
from judges.report.model_inversion.wording import NOTES
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table
from judges.runs.names import attack_name, in_words, network_name
from judges.runs.rows.classes import FEDERATION
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary


class Federation(NamedTuple):
    """The global models of federations on one data set, of each round and network, and the attacks on them."""

    dataset: str
    targets: list[TargetSummary]
    cells: list[InversionSummary]


def federations(summary: Inversions) -> list[Federation]:
    """Return the targets of federations with the attacks on them, by data set and architecture, round after round."""
    own = [target for target in summary.targets if target.source == FEDERATION]
    ordered = sorted(own, key=lambda target: (target.round, target.spiking))
    kinds = grouped(ordered, lambda target: (target.dataset, target.family))
    attacks = [cell for cell in summary.cells if not cell.control]
    return [
        Federation(name, own, [cell for target in own for cell in attacks if cell.target == target.target])
        for (name, _), own in kinds.items()
    ]


def round_section(summary: Inversions) -> Section:
    """Return the section on federations: a figure and a table for each."""
    tested = {target.target: spread(target.accuracy, target.accuracy_std) for target in summary.targets}
    columns: list[Column[Line]] = [
        Column("Round", _round, unit="attack", beside="plainly", under="model"),
        Column("n", lambda line: count_of(line.cell)),
        Column(
            "Target\N{RIGHT SINGLE QUOTATION MARK}s test accuracy, %",
            lambda line: tested[line.cell.target],
            aligned=True,
        ),
        *score_columns(),
        verdict_column(),
    ]
    tables = []
    for one in federations(summary):
        panels = _panels(one)
        name, names = in_words(one.dataset), ", ".join(panel.title for panel in panels)
        alt = f"attack accuracy, judge's confidence and test accuracy against the round, {name}: {names}"
        shown = (f"Attacks against the round, {name}", alt, lines_figure(panels, width=3.7, height=2.5))
        tables.append(
            Table(
                f"Numbers of every round, {name}",
                columns,
                [Group([first_line(cell, summary) for cell in one.cells])],
                name=name,
                above=Drawing("sweep.html.j2", [shown]),
                css="results layout inverted",
                apart=lambda line: line.cell.round,
            )
        )
    return Section("rounds", "Along the rounds of the federation", tables, note=NOTES["rounds"])


def round_drawings(summary: Inversions) -> Iterator[tuple[str, Draw]]:
    """Yield the panels of `round_section` as drawings for files."""
    panels = [(one, panel) for one in federations(summary) for panel in _panels(one)]
    for place, (one, panel) in enumerate(panels, start=1):
        yield f"rounds-{place}", captioned(panel_drawing(panel), joined(in_words(one.dataset), panel.title))


def _round(line: Line) -> Cell:
    return Cell(str(line.cell.round), attack_name(line.cell), (Small(network_name(line.cell), "fold"),))


def _panels(federation: Federation) -> list[Panel]:
    """Return what the figure of a federation shows of each network, the ANN before the SNN."""
    panels = []
    for name in sorted({network_name(target) for target in federation.targets}):
        lines = defaultdict[tuple[str, str], list[Point]](list)
        for cell in federation.cells:
            if network_name(cell) == name:
                rate, attack = cell.accuracy, attack_name(cell)
                lines["attack accuracy", attack].append(Point(cell.round, rate.share, (rate.low, rate.high)))
                lines["judge's confidence", attack].append(Point(cell.round, cell.scores.mean.confidence, None))
        tested = [Point(one.round, one.accuracy, None) for one in federation.targets if network_name(one) == name]
        target = in_percent(Sweep("target's test accuracy", "", tested))
        shares = [in_percent(Sweep(*key, points)) for key, points in lines.items()]
        panels.append(Panel("round", "%", shares, beneath=target, title=name, ends=(-2, 102)))
    return panels
