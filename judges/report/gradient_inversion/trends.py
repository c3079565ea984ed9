"""Rows and their summary -> how much leaks over the victims, against the server round, and against T, as figures.

Thresholded answers are left out: they are sparse recordings, of which SSIM and PSNR say little (Table V has their l2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from judges.intervals import bootstrap_mean, rate
from judges.report.curves import Mark, Sample, Sweep, cdf_figure, in_percent, trend_figure
from judges.report.figures import COLOURS, Point
from judges.report.gradient_inversion.tables import by_group
from judges.runs.identity import Group
from judges.runs.names import CONTROL, attack_name, group_name, line_name, model_name
from judges.runs.rows import RECOGNISABLE_SSIM, SOLVED_MSE, Score
from judges.summaries.gradient_inversion import CellSummary, Summary, line_of, stream_of, units_of
from judges.summaries.gradient_inversion import Line as SummaryLine

MOST_LINES = 12
"""Attacks that a figure of distributions shows at most."""

_MEASURES = (
    ("SSIM", "ssim", Mark(RECOGNISABLE_SSIM, "recognisable"), 1.0),
    ("PSNR, dB", "psnr_db", Mark(-10 * math.log10(SOLVED_MSE), "solved"), 40.0),
)
"""Of each measure its name, its column, the threshold, and how far its axis goes at least."""

Line = tuple[str, str]
"""What a line of a trend is called: (attack, network)."""


@dataclass(frozen=True)
class Distributions:
    """How the victims of a group fared.

    Attributes:
        name: what was attacked.
        shown, attacks: how many attacks the figures show, those of the highest mean SSIM, and how many there are.
        diverged, rows: how many of the shown answers come from attempts that ran away, and how many there are.
        figures: {measure: data URI}.
    """

    name: str
    shown: int
    attacks: int
    diverged: int
    rows: int
    figures: Mapping[str, str]


@dataclass(frozen=True)
class TrendRow:
    """A point of a trend in numbers. `place` is the round, or T, of which 0 is a network that does not spike."""

    attack: str
    model: str
    place: int
    n: int
    ssim: Point
    asr: Point | None


@dataclass(frozen=True)
class Trend:
    """How much leaks against something that varies, of victims that differ in it and in the network only.

    Attributes:
        name: what was attacked.
        rows: the numbers, by line and then by place.
        figures: {measure: data URI}; ASR only where there is a judge.
    """

    name: str
    rows: tuple[TrendRow, ...]
    figures: Mapping[str, str]


def has_namesake(line: CellSummary | Score, lines: Sequence[CellSummary]) -> bool:
    """Return whether another attack of the same lines has the same name, so that only the cell tells them apart."""
    return not line.is_control and [line_name(other) for other in lines].count(line_name(line)) > 1


def unique_name(line: CellSummary | Score, lines: Sequence[CellSummary]) -> str:
    """Return the name of an attack or control in a figure, with the cell's where two lines share it."""
    name = f"{CONTROL if line.is_control else ''}{line_name(line)}"
    return f"{name} ({line.cell})" if has_namesake(line, lines) else name


def distributions(summary: Summary, scores: Sequence[Score]) -> Iterator[Distributions]:
    """Yield the empirical distributions of SSIM and PSNR of each group; diverged answers count at what they are.

    All groups have the same axes.
    """
    rows = _by_line(scores)
    groups = _plain_groups(summary)
    plain = [row for row in scores if row.group in groups]
    for group, own in groups.items():
        attacks = sorted((cell for cell in own if not cell.is_control), key=lambda cell: -_mean(cell, "ssim"))
        shown = [cell for cell in own if cell in attacks[:MOST_LINES]]
        if not any(line_of(cell) in rows for cell in shown):
            continue
        figures = {}
        for measure, column, mark, usual in _MEASURES:
            values = [getattr(row, column) for row in plain]
            best = max((cell for cell in own if cell.is_control), key=lambda cell: _mean(cell, column), default=None)
            samples = [
                Sample(unique_name(cell, own), [getattr(row, column) for row in rows[line_of(cell)]], cell.is_control)
                for cell in (shown if best is None else [*shown, best])
                if line_of(cell) in rows
            ]
            ends = min(0.0, *values), max(usual, *values)
            figures[measure] = cdf_figure(samples, measure=measure, mark=mark, ends=ends)
        lost, count = sum(cell.diverged for cell in shown), sum(cell.n for cell in shown)
        yield Distributions(group_name(group), len(shown), len(attacks), lost, count, figures)


def by_round(summary: Summary, scores: Sequence[Score]) -> list[Trend]:
    """Return how much leaks against the server round, where the updates of a cell are of more than one."""
    lines: dict[Group, dict[Line, list[Score]]] = defaultdict(lambda: defaultdict(list))
    groups = _plain_groups(summary)
    for row in scores:
        if row.round > 0 and row.group in groups and not row.is_control:
            lines[_without_model(row)][unique_name(row, groups[row.group]), model_name(row)].append(row)
    trends = []
    for victims, own in _split(lines):
        moving = {line: rows for line, rows in own.items() if len({row.round for row in rows}) > 1}
        if moving:
            name = group_name(replace(victims, model=_one_model(moving)))
            trends.append(_trend(name, moving, {}, summary, lambda row: row.round, "server round"))
    return trends


def by_timesteps(summary: Summary, scores: Sequence[Score]) -> list[Trend]:
    """Return how much leaks against T, where the same data, initialisation and attack stand with several.

    Networks that do not spike are the reference: they have one value.
    """
    lines: dict[Group, dict[Line, list[Score]]] = defaultdict(lambda: defaultdict(list))
    groups = _plain_groups(summary)
    for row in scores:
        if row.group in groups and not row.is_control:
            others = {key: value for key, value in row.varied.items() if key != "timesteps"}
            lines[replace(_without_model(row), varied=tuple(others.items()))][attack_name(row), row.model].append(row)
    trends = []
    for victims, own in lines.items():
        moving = {line: rows for line, rows in own.items() if len({row.timesteps for row in rows}) > 1}
        if moving:
            attacks = {attack for attack, _ in moving}
            still = {line: rows for line, rows in own.items() if line[0] in attacks and not rows[0].timesteps}
            name = group_name(victims)
            trends.append(_trend(name, moving, still, summary, lambda row: row.timesteps, "time steps T"))
    return trends


def _trend(
    name: str,
    moving: Mapping[Line, Sequence[Score]],
    still: Mapping[Line, Sequence[Score]],
    summary: Summary,
    place: Callable[[Score], int],
    across: str,
) -> Trend:
    """Return a trend of lines that move, beside those that stand still."""
    rows = [row for line, own in moving.items() for row in _points(line, own, place, summary.seed)]
    level = [row for line, own in still.items() for row in _points(line, own, place, summary.seed)]
    several = len({model for _, model in (*moving, *still)}) > 1

    def sweeps(told: Sequence[TrendRow], measure: str) -> list[Sweep]:
        points: dict[Line, list[Point]] = defaultdict(list)
        for row in told:
            if (point := getattr(row, measure)) is not None:
                points[row.attack, row.model if several else ""].append(point)
        return [Sweep(*line, own) for line, own in points.items()]

    figures = {
        "SSIM": trend_figure(
            sweeps(rows, "ssim"),
            sweeps(level, "ssim"),
            across=across,
            up="mean SSIM",
            reference=_best_control(summary, {row.group for own in moving.values() for row in own}),
        )
    }
    judged = sweeps(rows, "asr")
    if judged:
        chance = summary.judges.get(next(iter(moving.values()))[0].dataset, {}).get("chance")
        figures["ASR"] = trend_figure(
            [in_percent(line) for line in judged],
            [in_percent(line) for line in sweeps(level, "asr")],
            across=across,
            up="ASR, %",
            reference=Mark(100 * chance, "chance") if isinstance(chance, float) else None,
        )
    return Trend(name, (*rows, *level), figures)


def _best_control(summary: Summary, groups: Collection[Group]) -> Mark | None:
    """Return the highest mean SSIM of a control on some groups of victims; None where there is no control."""
    controls = [cell for cell in summary.cells if cell.is_control and cell.group in groups]
    best = max(controls, key=lambda cell: _mean(cell, "ssim"), default=None)
    return None if best is None or best.ssim.mean is None else Mark(best.ssim.mean, unique_name(best, controls))


def _points(line: Line, rows: Sequence[Score], place: Callable[[Score], int], seed: int) -> Iterator[TrendRow]:
    """Yield a line's means at each place, with their bootstrap intervals."""
    at: dict[int, list[Score]] = defaultdict(list)
    for row in rows:
        at[place(row)].append(row)
    for here, own in sorted(at.items()):
        units = units_of(own)
        stream = "/".join((*stream_of(own[0])[:4], *line, str(here)))
        values = [row.ssim for row in own]
        ssim = Point(here, sum(values) / len(own), bootstrap_mean(values, units, seed=seed, stream=stream))
        asr = None
        if all(row.judge_correct is not None for row in own):
            seen = rate([row.judge_correct is True for row in own], units, seed=seed, stream=stream)
            asr = Point(here, seen.share, (seen.low, seen.high))
        yield TrendRow(*line, here, len(own), ssim, asr)


def _split(
    lines: Mapping[Group, Mapping[Line, list[Score]]],
) -> Iterator[tuple[Group, Mapping[Line, list[Score]]]]:
    """Yield the lines of each key; network by network where there are more of them than colours."""
    for key, own in lines.items():
        models = dict.fromkeys(model for _, model in own)
        if len(models) <= len(COLOURS):
            yield key, own
            continue
        for model in models:
            yield key, {line: rows for line, rows in own.items() if line[1] == model}


def _one_model(lines: Mapping[Line, object]) -> str:
    """Return the network of all lines; "" where there are several."""
    models = {model for _, model in lines}
    return next(iter(models)) if len(models) == 1 else ""


def _without_model(row: Score) -> Group:
    """Return what was attacked, whatever the network."""
    return replace(row.group, model="", family="", spiking=False, varied=())


def _plain_groups(summary: Summary) -> dict[Group, list[CellSummary]]:
    """Return the cells of each group on which no thresholding was tried."""
    return {group: own for group, own in by_group(summary.cells).items() if all(cell.tau is None for cell in own)}


def _by_line(scores: Sequence[Score]) -> dict[SummaryLine, list[Score]]:
    """Return the rows of each line; a control's row that two cells both hold counts once, as in the summary."""
    rows: dict[SummaryLine, dict[object, Score]] = defaultdict(dict)
    for index, row in enumerate(scores):
        rows[line_of(row)][(row.victim, row.mse, row.ssim) if row.is_control else index] = row
    return {key: list(own.values()) for key, own in rows.items()}


def _mean(cell: CellSummary, column: str) -> float:
    mean: float | None = getattr(cell, column).mean
    return -math.inf if mean is None else mean
