"""What stands around the attacks: leaks against the round and T, health of the victims, answers without a truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from judges.report.curves import Rates, firing_figure
from judges.report.formats import (
    DASH,
    counted,
    digits,
    error,
    interval,
    number,
    out_of_100,
    percent_interval,
    percent_span,
    span,
)
from judges.report.gradient_inversion.trends import Trend, TrendRow
from judges.report.gradient_inversion.wording import NOTES
from judges.report.pictures import Block
from judges.report.table import Cell, Column, Drawing, Group, Section, Table
from judges.runs.measures import Health
from judges.runs.names import group_name
from judges.runs.pictures import Pictures
from judges.summaries.gradient_inversion import Summary


class HealthLine(NamedTuple):
    """The health of the model behind a group's updates; the figure of its firing rates is "" where it has none."""

    name: str
    health: Health
    figure: str

    @property
    def accuracy(self) -> Cell:
        """Return the test accuracy above chance."""
        return Cell(out_of_100(self.health.accuracy), under=(out_of_100(self.health.chance),))

    @property
    def norm(self) -> Cell:
        """Return the median gradient norm and its quartiles."""
        norm = self.health.gradient_norm
        return Cell(digits(norm.median), f"({digits(norm.lower_quartile)}{DASH}{digits(norm.upper_quartile)})")


def health_lines(summary: Summary) -> list[HealthLine]:
    """Return the health of the models under attack, with the firing rates of those that spike."""
    lines = []
    for told in summary.health:
        rates = {name: Rates(firing, told.silent.get(name, 0.0)) for name, firing in told.firing_rates.items()}
        lines.append(HealthLine(group_name(told), told, firing_figure(rates) if rates else ""))
    return lines


def health_section(summary: Summary) -> Section:
    """Return the section on the health of the victims."""
    lines = health_lines(summary)
    columns: list[Column[HealthLine]] = [
        Column("Victim", lambda line: line.name),
        Column("Updates", lambda line: str(line.health.captures)),
        Column("Accuracy, %", lambda line: line.accuracy, unit="chance", under="chance"),
        Column("Spikes", lambda line: span(line.health.firing_rates), unit="a neuron and step"),
        Column("Silent neurons, %", lambda line: percent_span(line.health.silent), unit="over the layers"),
        Column("Zero gradient, %", lambda line: out_of_100(line.health.zero_gradient), unit="of the entries"),
        Column("Gradient norm", lambda line: line.norm, unit="median (quartiles)"),
        Column("Dead updates, %", _dead, unit="0 but in the last layer"),
    ]
    title, css = "Health of the victim", "results layout vitals"
    table = Table(title, columns, [Group(lines)], css=css, note=NOTES["health"])
    return Section("health", title, [table, Drawing("firing.html.j2", [line for line in lines if line.figure])])


def trend_section(name: str, title: str, place: str, trends: Sequence[Trend]) -> Section:
    """Return the section on leaks against something that varies: each figure and its numbers.

    Args:
        name: of the section on the page, and of its note.
        title: of the section.
        place: what varies.
        trends: of each group of victims.
    """
    columns: list[Column[TrendRow]] = [
        Column("Attack", lambda row: row.attack),
        Column("Model", lambda row: row.model, left=True),
        Column(place, lambda row: str(row.place or DASH)),
        Column("n", lambda row: str(row.n)),
        Column("SSIM, mean [95 %]", lambda row: f"{number(row.ssim.mean)} {interval(row.ssim.interval)}"),
        Column("ASR, % [95 %]", _asr),
    ]
    tables = [
        Table(
            f"{title}, {trend.name}",
            columns,
            [Group(trend.rows)],
            name=trend.name,
            above=Drawing("trend.html.j2", [trend], place),
            css="plain numbers",
            fold=f"The numbers: {trend.name}",
        )
        for trend in trends
    ]
    return Section(name, title, tables, lead=NOTES[name])


def answer_section(answers: Sequence[Pictures], blocks: Sequence[Block]) -> Section:
    """Return the section on answers without a truth: their pictures in blocks, and their numbers."""
    columns: list[Column[tuple[Pictures, int]]] = [
        Column("Capture", lambda row: row[0].subjects[row[1]]),
        Column("Attack", lambda row: row[0].cell, left=True),
        Column("Label believed", lambda row: _label(row[0].numbers["label"][row[1]])),
        Column("Matching loss", lambda row: error(row[0].numbers["matching_loss"][row[1]])),
        Column("Ended", lambda row: row[0].words["stop_reason"][row[1]], left=True),
    ]
    rows = [(one, at) for one in answers for at in range(len(one.subjects))]
    fold = f"The numbers of {counted(len(rows), 'answer')}"
    table = Table("Answers", columns, [Group(rows)], css="plain numbers", fold=fold)
    pictures = Drawing("pictures.html.j2", blocks)
    return Section("answers", "Answers without a truth", [pictures, table], lead=NOTES["answers"])


def _label(label: float) -> str:
    """Return the label that an attack believes; a dash where it believes none."""
    return f"{label:.0f}" if label >= 0 else DASH


def _dead(line: HealthLine) -> Cell:
    return Cell(out_of_100(line.health.dead), css="alarm" if line.health.dead > 0 else "")


def _asr(row: TrendRow) -> str:
    return f"{out_of_100(row.asr.mean)} {percent_interval(row.asr.interval)}".strip() if row.asr else DASH
