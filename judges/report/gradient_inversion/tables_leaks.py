"""What stands around the attacks: who tried, sanity checks, leaks against round and T, health of victims, and answers
without a truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from judges.report.curves import Rates, firing_figure
from judges.report.formats import (
    DASH,
    between,
    counted,
    digits,
    error,
    grouped,
    interval,
    joined,
    number,
    out_of_100,
    percent_span,
    span,
)
from judges.report.gradient_inversion import NOTES
from judges.report.gradient_inversion.trends import Trend, TrendRow
from judges.report.pictures import Block
from judges.report.table import Cell, Column, Drawing, Group, Section, Table, median_cell, share_cell
from judges.runs.identity import NO_OP
from judges.runs.measures import Health, SanityCheck
from judges.runs.names import attack_name, group_name, line_name
from judges.runs.pictures import Pictures
from judges.summaries.gradient_inversion import CellSummary, Summary

ADVERSARIES = {
    "A": "the update only",
    "B": "a prior of the inputs, too",
    "C": "how the client trains, too",
    "D": "examples of other people, too",
    "E": "statistics of the client's data, too",
    "F to H": "may also tamper with the training, which is not this threat model",
}
"""{letter of Carletti et al. (USENIX Security 2025): what this adversary knows}."""


class Firing(NamedTuple):
    """The firing rates of the model behind a group's updates as a figure, which is "" where it does not spike."""

    name: str
    figure: str


def health_lines(summary: Summary) -> list[Firing]:
    """Return the firing rates of the models under attack."""
    lines = []
    for health in summary.health:
        rates = {layer: Rates(firing, health.silent.get(layer, 0.0)) for layer, firing in health.firing_rates.items()}
        lines.append(Firing(group_name(health), firing_figure(rates) if rates else ""))
    return lines


def health_section(summary: Summary) -> Section:
    """Return the section on the health of the victims."""
    columns: list[Column[Health]] = [
        Column("Victim", group_name),
        Column("Updates", lambda one: str(one.captures)),
        Column("Accuracy, %", _accuracy, unit="chance", under="chance"),
        Column("Spikes", lambda one: span(one.firing_rates), unit="per neuron and step"),
        Column("Silent neurons, %", lambda one: percent_span(one.silent), unit="over the layers"),
        Column("Zero gradient, %", lambda one: out_of_100(one.zero_gradient), unit="of the entries"),
        Column("Gradient norm", lambda one: median_cell(one.gradient_norm, digits), unit="median (quartiles)"),
        Column("Dead updates, %", _dead, unit="0 except in the last layer"),
    ]
    title, css = "Health of the victim", "results layout vitals"
    table = Table(title, columns, [Group(summary.health)], css=css, note=NOTES["health"])
    firing = Drawing("firing.html.j2", [line for line in health_lines(summary) if line.figure])
    return Section("health", title, [table, firing])


def _accuracy(health: Health) -> Cell:
    return Cell(out_of_100(health.accuracy), under=(out_of_100(health.chance),))


def _dead(health: Health) -> Cell:
    return Cell(out_of_100(health.dead), css="alarm" if health.dead > 0 else "")


class Tried(NamedTuple):
    """An attack with its adversary; or an adversary with whose knowledge no attack was tried, and no cells."""

    adversary: str
    attack: str
    cells: Sequence[CellSummary]


def tried(summary: Summary) -> list[Tried]:
    """Return who tried what, by the adversary's letter: every letter of `ADVERSARIES`, and others of added attacks."""
    attacks = [cell for cell in summary.cells if not cell.is_control]
    by_letter = grouped(attacks, lambda cell: cell.adversary)
    lines = []
    for letter in dict.fromkeys((*ADVERSARIES, *by_letter)):
        own = grouped(by_letter.get(letter, ()), lambda cell: (attack_name(cell), cell.auxiliary))
        lines += [Tried(letter, name, cells) for (name, _), cells in own.items()] or [Tried(letter, "", ())]
    return lines if attacks else []


def tried_section(summary: Summary) -> Section:
    """Return the section on who tried what, with which budget, and who did not."""
    rows, title = tried(summary), "Who tried what"
    columns: list[Column[Tried]] = [
        Column("Adversary", lambda row: Cell(row.adversary or DASH, under=(ADVERSARIES.get(row.adversary, ""),)),
               under="knows"),
        Column("Attack", lambda row: row.attack or "not tried", left=True),
        Column("Victims", lambda row: str(sum(cell.n - cell.unattempted for cell in row.cells)) if row.cells else DASH),
        Column("Evaluations", lambda row: _medians(row, "gradient_evaluations", "{:.0f}"), unit="a victim"),
        Column("Seconds", lambda row: _medians(row, "seconds", "{:.2f}"), unit="a victim"),
    ]  # fmt: skip
    if any(cell.auxiliary for row in rows for cell in row.cells):
        columns.append(Column("Auxiliary data", lambda row: row.cells[0].auxiliary if row.cells else "", left=True))
    table = Table(title, columns, [Group(rows)], css="plain numbers", apart=lambda row: row.adversary)
    return Section("tried", title, [table], lead=NOTES["tried"])


def _medians(row: Tried, name: str, form: str) -> str:
    """Return the least and the greatest of the medians of an attack's cells; a dash where it was not tried."""
    values = [getattr(cell, name) for cell in row.cells]
    return between(form.format(min(values)), form.format(max(values))) if values else DASH


class Outcome(NamedTuple):
    """One of the sanity checks of an attack: what must hold, whether it does (None if not checked), and the numbers."""

    claim: str
    holds: bool | None
    numbers: str


def outcomes(check: SanityCheck) -> list[Outcome]:
    """Return the four sanity checks of an attack in words."""
    distance = DASH if check.truth is None else digits(check.truth)
    nothing = f"best control {_score(check.best_control)}, no-op {_score(check.controls.get(NO_OP))}"
    return [
        Outcome("the truth is a fixed point", check.truth_is_fixed, f"distance of its update {distance}"),
        Outcome(
            "a random update scores like the controls",
            check.random_finds_nothing,
            check.failure or f"{check.measure} {_score(check.random)}; {nothing}",
        ),
        Outcome(
            "more noise hurts",
            check.noise_hurts,
            check.failure
            or f"{check.measure} {_score(check.plain)} without noise, {_score(check.noisy)} with it, "
            f"margin {check.margin:.2f}",
        ),
        Outcome(
            "a victim's result is its own",
            check.is_own,
            check.failure or "there is no other victim"
            if check.moved is None
            else f"{check.moved} of {len(check.victims)} come out otherwise when attacked alone",
        ),
    ]


def checks_section(checks: Sequence[SanityCheck]) -> Section:
    """Return the section on the sanity checks."""
    columns: list[Column[SanityCheck]] = [
        Column("Attack", line_name),
        Column("Updates", lambda one: str(len(one.victims))),
        Column("Truth", lambda one: Cell(DASH if one.truth is None else digits(one.truth)), unit="distance"),
        Column("Similarity", lambda one: Cell(_score(one.plain), under=(one.measure,)), under="measure"),
        Column("With noise", lambda one: _score(one.noisy)),
        Column("Random update", lambda one: _score(one.random)),
        Column("Otherwise", lambda one: DASH if one.moved is None else str(one.moved), unit="alone"),
        Column("No-op", lambda one: _score(one.controls.get(NO_OP))),
        Column("Best control", lambda one: _score(one.best_control), unit="of each victim"),
        Column("Checks", _passed, left=True, under="not checked"),
    ]
    title = "Sanity checks"
    groups = [Group(own, group_name(group)) for group, own in grouped(checks, lambda one: one.group).items()]
    table = Table(title, columns, groups, grouped_by="Victims", css="plain numbers", note=NOTES["checks"])
    return Section("checks", title, [table])


def _score(similarity: float | None) -> str:
    return DASH if similarity is None else number(similarity)


def _passed(check: SanityCheck) -> Cell:
    """Return "passed", or which checks failed; below it, those that were not made."""
    made = outcomes(check)
    failed = [one.claim for one in made if one.holds is False]
    unmade = [one.claim for one in made if one.holds is None]
    text = f"failed: {joined(*failed)}" if failed else DASH if len(unmade) == len(made) else "passed"
    return Cell(text, under=(joined(*unmade), check.failure), css="alarm" if failed else "")


def trend_section(name: str, title: str, place: str, trends: Sequence[Trend]) -> Section:
    """Return the section on leaks against a place, such as the round: each figure and its numbers."""
    columns: list[Column[TrendRow]] = [
        Column("Attack", lambda row: row.attack),
        Column("Model", lambda row: row.model, left=True),
        Column(place, lambda row: DASH if row.place is None else f"{row.place:g}"),
        Column("n", lambda row: str(row.n)),
        Column("SSIM, mean [95 %]", _ssim),
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


def _ssim(row: TrendRow) -> str:
    return f"{number(row.ssim.mean)} {interval(row.ssim.interval)}" if row.ssim else DASH


def _asr(row: TrendRow) -> str:
    return share_cell(row.asr.mean, row.asr.interval).line if row.asr else DASH


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
