"""Rows and their summary -> how much leaks against the round, T, and the strength of a defence, as figures.

Thresholded answers are left out: they are sparse recordings, of which SSIM and PSNR say little (Table V has their l2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from judges.figures.drawing import COLOURS
from judges.intervals import Distribution, bootstrap_mean, rate
from judges.report.curves import Mark, Panel, Sweep, in_percent, lines_figure
from judges.report.figures import Point
from judges.report.formats import grouped
from judges.report.gradient_inversion.tables import judge_facts, plain_groups
from judges.report.words import unique_name
from judges.runs.identity import Group
from judges.runs.names import attack_name, group_name, in_words, model_name
from judges.runs.rows import Score
from judges.summaries.comparison import units_of
from judges.summaries.gradient_inversion import CellSummary, Summary, stream_of

Place = Callable[[Score], float | None]
Line = tuple[str, str]  # what a line of a trend is called: (attack, network)
Lines = Mapping[Line, Sequence[Score]]


class TrendRow(NamedTuple):
    """A point of a trend in numbers. `place` is what varies: None for what stands beside it and does not.

    SSIM is None where it is not defined, ASR without a judge.
    """

    attack: str
    model: str
    place: float | None
    n: int
    ssim: Point | None
    asr: Point | None


class Trend(NamedTuple):
    """How much leaks against something that varies, for victims that differ only in that and in the network."""

    name: str  # what was attacked
    rows: Sequence[TrendRow]  # by line and then by place
    panels: Mapping[str, Panel]  # {measure: what is drawn}; SSIM only where it is defined, ASR where there is a judge

    @property
    def figures(self) -> Mapping[str, str]:
        """Return {measure: data URI}."""
        return {measure: lines_figure([panel], width=3.5, height=2.2) for measure, panel in self.panels.items()}


def by_round(summary: Summary, scores: Sequence[Score]) -> list[Trend]:
    """Return how much leaks against the server round, where the updates of a cell are of more than one.

    Networks stand in figures of their own where there are more of them than colours.
    """
    groups = plain_groups(summary)

    def line(row: Score) -> Line:
        return unique_name(row, groups[row.group]), model_name(row)

    trends = []
    known = (row for row in scores if row.round > 0 and row.group in groups and _is_measured(row))
    for victims, own in grouped(known, _without_model).items():
        lines = grouped(own, line)
        models = list(dict.fromkeys(model for _, model in lines))
        for together in [models] if len(models) <= len(COLOURS) else [[model] for model in models]:
            moving = {line: rows for line, rows in _moving(lines, _round).items() if line[1] in together}
            if moving:
                alone = {model for _, model in moving}
                name = group_name(replace(victims, model=alone.pop() if len(alone) == 1 else ""))
                trends.append(_trend(name, moving, {}, summary, _round, "server round"))
    return trends


def by_timesteps(summary: Summary, scores: Sequence[Score]) -> list[Trend]:
    """Return how much leaks against T, where the same data, initialisation and attack stand with several.

    Networks that do not spike are the reference: they have one value.
    """
    groups = plain_groups(summary)

    def alike(row: Score) -> Group:
        others = tuple((key, value) for key, value in row.varied.items() if key != "timesteps")
        return replace(_without_model(row), varied=others)

    trends = []
    known = (row for row in scores if row.group in groups and _is_measured(row))
    for victims, own in grouped(known, alike).items():
        lines = grouped(own, lambda row: (attack_name(row), in_words(row.model)))
        moving = _moving(lines, _timesteps)
        attacks = {attack for attack, _ in moving}
        still = {line: rows for line, rows in lines.items() if line[0] in attacks and not rows[0].timesteps}
        if moving:
            trends.append(_trend(group_name(victims), moving, still, summary, _timesteps, "time steps T"))
    return trends


def by_strength(summary: Summary, scores: Sequence[Score]) -> list[Trend]:
    """Return how much leaks against each setting of a defence that has several values, all else being equal.

    The same attack where there is no defence is the reference: it has one value.
    """
    groups, trends = plain_groups(summary), []
    known = [row for row in scores if row.group in groups and _is_measured(row)]
    keys = dict.fromkeys(
        key for row in known for key, value in row.defence_settings.items() if _number(value) is not None
    )
    for key in keys:

        def strength(row: Score, key: str = key) -> float | None:
            return _number(row.defence_settings.get(key))

        def alike(row: Score, key: str = key) -> Group:
            others = tuple((name, value) for name, value in row.defence_settings.items() if name != key)
            return replace(_without_model(row), defence_settings=others)

        defended = (row for row in known if strength(row) is not None)
        for victims, own in grouped(defended, alike).items():
            moving = _moving(grouped(own, _attack_on), strength)
            plain = grouped((row for row in known if _without_model(row) == victims.undefended), _attack_on)
            still = {(f"{line[0]}, no defence", line[1]): plain[line] for line in moving if line in plain}
            if moving:
                trends.append(_trend(group_name(victims), moving, still, summary, strength, key.replace("_", " ")))
    return trends


def _attack_on(row: Score) -> Line:
    return attack_name(row), model_name(row)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _round(row: Score) -> float:
    return row.round


def _timesteps(row: Score) -> float | None:
    return row.timesteps or None


def _is_measured(row: Score) -> bool:
    """Return whether a row is an attack's and has something that trends show."""
    return not row.is_control and (row.ssim is not None or row.judge_correct is not None)


def _moving(lines: Lines, at: Place) -> Lines:
    """Return the lines whose rows are at several places."""
    return {line: rows for line, rows in lines.items() if len({at(row) for row in rows}) > 1}


def _without_model(row: Score) -> Group:
    """Return what was attacked, whatever the network."""
    return replace(row.group, model="", family="", spiking=False, varied=())


def _trend(name: str, moving: Lines, still: Lines, summary: Summary, at: Place, across: str) -> Trend:
    """Return a trend of the lines that move over the places of their rows, beside those that stand still."""
    rows, level = (
        [row for line, own in lines.items() for row in _points(line, own, at, summary.seed)]
        for lines in (moving, still)
    )
    several = len({model for _, model in (*moving, *still)}) > 1

    def sweeps(own: Sequence[TrendRow], measure: str) -> list[Sweep]:
        points: dict[Line, list[Point]] = defaultdict(list)
        for row in own:
            if (point := getattr(row, measure)) is not None:
                points[row.attack, row.model if several else ""].append(point)
        return [Sweep(*line, own) for line, own in points.items()]

    victims = {row.group for own in moving.values() for row in own}
    controls = [cell for cell in summary.cells if cell.is_control and cell.group in victims]
    best = max(controls, key=lambda cell: _mean(cell, "ssim"), default=None)
    mean = best.ssim.mean if best and best.ssim else None
    marks = [] if best is None or mean is None else [Mark(mean, unique_name(best, controls))]
    shown: dict[str, Panel] = {}
    if similar := sweeps(rows, "ssim"):
        shown["SSIM"] = Panel(across, "mean SSIM", similar, sweeps(level, "ssim"), marks=marks)
    if judged := sweeps(rows, "asr"):
        _, chance = judge_facts(summary, next(iter(victims)).dataset)
        moves, stays = (list(map(in_percent, lines)) for lines in (judged, sweeps(level, "asr")))
        marks = [] if chance is None else [Mark(100 * chance, "chance")]
        shown["ASR"] = Panel(across, "ASR, %", moves, stays, marks=marks)
    return Trend(name, [*rows, *level], shown)


def _points(line: Line, rows: Sequence[Score], at: Place, seed: int) -> Iterator[TrendRow]:
    """Yield a line's means at each place, with their bootstrap intervals."""
    for place, own in sorted(grouped(rows, at).items(), key=lambda item: item[0] or 0.0):
        where = place or 0.0
        units, stream = units_of(own), "/".join((*stream_of(own[0])[:4], *line, f"{where:g}"))
        values = [row.ssim for row in own if row.ssim is not None]
        ssim = asr = None
        if len(values) == len(own):
            ssim = Point(where, sum(values) / len(own), bootstrap_mean(values, units, seed=seed, stream=stream))
        if all(row.judge_correct is not None for row in own):
            seen = rate([row.judge_correct is True for row in own], units, seed=seed, stream=stream)
            asr = Point(where, seen.share, (seen.low, seen.high))
        yield TrendRow(*line, place, len(own), ssim, asr)


def _mean(cell: CellSummary, column: str) -> float:
    """Return the mean of a column; minus infinity where it is infinite or not defined."""
    values: Distribution | None = getattr(cell, column)
    return -math.inf if values is None or values.mean is None else values.mean
