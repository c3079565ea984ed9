"""The accuracy of the global models of federations against the round, as a figure and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import NamedTuple

from judges.figures.files import Draw, captioned
from judges.report.curves import Panel, Sweep, in_percent, lines_figure, panel_drawing
from judges.report.figures import Point
from judges.report.formats import grouped, out_of_100
from judges.report.table import Column, Drawing, Group, Section, Table
from judges.runs.identity import Group as Victims
from judges.runs.measures import ModelAccuracy
from judges.runs.names import group_name, in_words, network


class CurveRow(NamedTuple):
    """A point of a curve: the global models of the repetitions of a federation after a round."""

    name: str
    round: int
    accuracy: float
    least: float
    most: float
    examples: int
    repeats: int


def curve_rows(measured: Sequence[ModelAccuracy]) -> list[CurveRow]:
    """Return the points of all curves, federation after federation and round after round."""
    rows = []
    for victims, own in grouped(measured, lambda one: one.group).items():
        for number, models in sorted(grouped(own, lambda one: one.round).items()):
            shares = [one.accuracy for one in models]
            ends = min(shares), max(shares)
            name = group_name(victims)
            rows.append(CurveRow(name, number, mean(shares), *ends, models[0].examples, len(shares)))
    return rows


def accuracy_panels(measured: Sequence[ModelAccuracy]) -> Iterator[tuple[str, Panel]]:
    """Yield (data set, what is drawn): one line for each federation, with chance as far as the classes are known."""
    for dataset, own in grouped(measured, lambda one: one.dataset).items():
        names = line_names(list(dict.fromkeys(one.group for one in own)))
        lines = []
        for victims, models in grouped(own, lambda one: one.group).items():
            points = [
                Point(row.round, row.accuracy, (row.least, row.most) if row.repeats > 1 else None)
                for row in curve_rows(models)
            ]
            lines.append(in_percent(Sweep(*names[victims], points)))
        yield dataset, Panel("rounds of training", "held-out accuracy, %", lines, ends=(-2, 102))


def accuracy_section(measured: Sequence[ModelAccuracy], note: str) -> Section:
    """Return the section on how well the global models do; `note` says how that was measured."""
    rows = curve_rows(measured)
    columns: list[Column[CurveRow]] = [
        Column("Federation", lambda row: row.name),
        Column("Rounds", lambda row: str(row.round)),
        Column("Accuracy, %", lambda row: f"{100 * row.accuracy:.2f}"),
        Column("Least, most", lambda row: f"{100 * row.least:.2f}, {100 * row.most:.2f}", unit="of the repetitions"),
        Column("n", lambda row: f"{row.repeats} x {row.examples:,}"),
    ]
    if all(row.repeats == 1 for row in rows):
        del columns[3]
    shown = [
        (f"Accuracy against the round, {in_words(name)}",
         f"held-out accuracy of the global model against the rounds of training, {in_words(name)}",
         lines_figure([panel], width=6.0, height=2.6))
        for name, panel in accuracy_panels(measured)
    ]  # fmt: skip
    title = "Accuracy of the global model"
    table = Table(
        title,
        columns,
        [Group(rows)],
        css="plain numbers",
        fold="The numbers of every kept round",
        apart=lambda row: row.name,
        above=Drawing("sweep.html.j2", shown),
        note=note,
    )
    return Section("accuracy", title, [table])


def accuracy_drawings(measured: Sequence[ModelAccuracy]) -> Iterator[tuple[str, Draw]]:
    """Yield the curves as drawings for files."""
    for name, panel in accuracy_panels(measured):
        yield f"accuracy-{name}", captioned(panel_drawing(panel), in_words(name))


def final_accuracies(measured: Sequence[ModelAccuracy]) -> list[str]:
    """Return what each federation's model reached after the last kept round, as texts."""
    last = {row.name: row for row in curve_rows(measured)}
    return [f"{row.name}: {out_of_100(row.accuracy)} % after {row.round} rounds" for row in last.values()]


def line_names(victims: Sequence[Victims]) -> dict[Victims, tuple[str, str]]:
    """Return {federation: what its marker and its colour say}: family and kind of network, where these suffice."""
    short = {one: (in_words(one.family), network(one)) for one in victims}
    known = list(short.values())
    return {one: pair if known.count(pair) == 1 else (group_name(one), network(one)) for one, pair in short.items()}
