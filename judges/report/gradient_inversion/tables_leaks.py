"""What stands around the attacks: leaks against the round and T, health of the victims, answers without a truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from judges.report.gradient_inversion.answers import AnswerPanel, Shown
from judges.report.gradient_inversion.trends import Distributions, Trend, TrendRow
from judges.report.gradient_inversion.wording import NOTES, name_of_group
from judges.report.table import Cell, Column, Drawing, Group, Section, Table
from judges.runs.health import Health
from judges.summaries.gradient_inversion import Summary


class HealthLine(NamedTuple):
    """The health of the model behind a group's updates; the figure of its firing rates is "" where it has none."""

    name: str
    health: Health
    figure: str


def health_lines(summary: Summary) -> list[HealthLine]:
    """Return the health of the models under attack, with the firing rates of those that spike."""
    return [HealthLine(name_of_group(health.group), health, _firing(health)) for health in summary.health]


def health_sections(summary: Summary) -> Iterator[Section]:
    """Yield the section on the health of the victims, where it was measured."""
    lines = health_lines(summary)
    columns: list[Column[HealthLine]] = [
        Column("Victim", lambda line: line.name),
        Column("Updates", lambda line: str(line.health.captures)),
        Column("Accuracy, %", _accuracy, unit="chance", under="chance"),
        Column("Spikes", lambda line: span(line.health.firing_rates), unit="a neuron and step"),
        Column("Silent neurons, %", lambda line: percent_span(line.health.silent), unit="over the layers"),
        Column("Zero gradient, %", lambda line: out_of_100(line.health.zero_gradient), unit="of the entries"),
        Column("Gradient norm", _norm, unit="median (quartiles)"),
        Column("Dead updates, %", _dead, unit="0 but in the last layer"),
    ]
    if lines:
        css = "results layout vitals"
        table = Table("Health of the victim", columns, [Group(lines)], css=css, note=NOTES["health"])
        drawn = [line for line in lines if line.figure]
        figures = [Drawing("firing.html.j2", {"lines": drawn})] if drawn else []
        yield Section("health", "Health of the victim", [table, *figures])


def trend_sections(name: str, title: str, place: str, trends: Sequence[Trend]) -> Iterator[Section]:
    """Yield the section on leaks against something that varies, where there are any: each figure and its numbers.

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
            above=Drawing("trend.html.j2", {"trend": trend, "place": place}),
            css="plain numbers",
            row_css=lambda _: "",
            fold=f"The numbers: {trend.name}",
        )
        for trend in trends
    ]
    if tables:
        yield Section(name, title, tables, lead=NOTES[name])


def distribution_sections(told: Sequence[Distributions]) -> Iterator[Section]:
    """Yield the section on the distributions over the victims, where there are any."""
    if told:
        drawing = Drawing("distributions.html.j2", {"distributions": told})
        yield Section("distributions", "Distribution over the victims", [drawing])


def answer_sections(panels: Sequence[AnswerPanel]) -> Iterator[Section]:
    """Yield the section on answers without a truth, where there are any."""
    columns: list[Column[AnswerRow]] = [
        Column("Capture", lambda row: row.shown.capture_id),
        Column("Attack", lambda row: row.attack, left=True),
        Column("Label believed", lambda row: str(row.shown.label) if row.shown.label >= 0 else DASH),
        Column("Matching loss", lambda row: error(row.shown.loss)),
        Column("Ended", lambda row: row.shown.stop_reason, left=True),
    ]
    if panels:
        rows = [AnswerRow(panel.cell, shown) for panel in panels for shown in panel.pictures]
        css, fold = "plain numbers", f"The numbers of {counted(len(rows), 'answer')}"
        table = Table("Answers", columns, [Group(rows)], css=css, row_css=lambda _: "", fold=fold)
        parts = [Drawing("answers.html.j2", {"answers": panels}), *([table] if rows else [])]
        yield Section("answers", "Answers without a truth", parts, lead=NOTES["answers"])


@dataclass(frozen=True)
class AnswerRow:
    """An answer without a truth, and the attack that found it."""

    attack: str
    shown: Shown


def _firing(health: Health) -> str:
    """Return the figure of a network's firing rates."""
    rates = {name: Rates(firing, health.silent.get(name, 0.0)) for name, firing in health.firing_rates.items()}
    return firing_figure(rates) if rates else ""


def _accuracy(line: HealthLine) -> Cell:
    return Cell(out_of_100(line.health.accuracy), under=(out_of_100(line.health.chance),))


def _norm(line: HealthLine) -> Cell:
    norm = line.health.gradient_norm
    return Cell(digits(norm.median), f"({digits(norm.lower_quartile)}{DASH}{digits(norm.upper_quartile)})")


def _dead(line: HealthLine) -> Cell:
    return Cell(out_of_100(line.health.dead), css="alarm" if line.health.dead > 0 else "")


def _asr(row: TrendRow) -> str:
    return f"{out_of_100(row.asr.mean)} {percent_interval(row.asr.interval)}".strip() if row.asr else DASH
