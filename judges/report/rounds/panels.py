"""The curves of a run over rounds -> panels side by side: accuracy, then each threat, with the rounds on the axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from judges.figures.files import Draw, captioned
from judges.report.curves import Band, Mark, Panel, Sweep, in_percent, panel_drawing
from judges.report.figures import Point
from judges.report.formats import grouped
from judges.report.rounds.threats import THREATS, Shown
from judges.runs.identity import Group
from judges.runs.names import group_name, in_words, network
from judges.runs.rows.rounds import ACCURACY
from judges.summaries.rounds import Curve, RoundPoint, Rounds

ACROSS = "rounds of training"
_SLACK = 0.02
_TITLE = 41
"""Characters that a panel of four has room for above it."""


class Picture(NamedTuple):
    """The panels of the networks of one family on one data set: {"accuracy", or a threat: panel}."""

    name: str
    panels: dict[str, Panel]


def pictures(summary: Rounds) -> list[Picture]:
    """Return the panels of each family of networks on each data set, the ANN and the SNN in the same panels."""
    found = []
    for (dataset, family), own in grouped(summary.curves, lambda one: (one.dataset, one.family)).items():
        panels = {"accuracy": _accuracy(own)} | {
            threat: _threat(shown, [one for one in own if one.threat == threat and one.measure == shown.measure])
            for threat, shown in THREATS.items()
        }
        shown_panels = {name: panel for name, panel in panels.items() if panel.lines}
        found.append(Picture(f"{in_words(dataset)}, {in_words(family)}", shown_panels))
    return found


def picture_drawings(summary: Rounds) -> Iterator[tuple[str, Draw]]:
    """Yield the panels as drawings for files."""
    for place, picture in enumerate(pictures(summary), start=1):
        for name, panel in picture.panels.items():
            yield f"rounds-{place}-{name.replace('_', '-')}", captioned(panel_drawing(panel), picture.name)


def line_names(curves: Sequence[Curve]) -> dict[Group, str]:
    """Return {federation: what tells it from others of its family}: ANN or SNN, where that suffices."""
    groups = list(dict.fromkeys(one.group for one in curves))
    kinds = [network(one) for one in groups]
    return {
        one: kind if kinds.count(kind) == 1 else f"{kind}, {group_name(one)}"
        for one, kind in zip(groups, kinds, strict=True)
    }


def _accuracy(curves: Sequence[Curve]) -> Panel:
    names = line_names(curves)
    lines = [
        in_percent(Sweep("global model", names[one.group], _points(one))) for one in curves if one.measure == ACCURACY
    ]
    return Panel(ACROSS, "held-out accuracy, %", lines, title="accuracy", ends=(-2, 102))


def _threat(shown: Shown, curves: Sequence[Curve]) -> Panel:
    """Return the panel of a threat: its attacks, and its controls as a band."""
    names = line_names(curves)
    attacks = [Sweep(one.line, names[one.group], _points(one)) for one in curves if not one.is_control]
    lines = [in_percent(line) for line in attacks] if shown.share else attacks
    scale = 100.0 if shown.share else 1.0
    band = [(at, scale * low, scale * high) for at, low, high in band_of(shown, curves)]
    marks = [
        Mark(scale * sum(point.value for point in one.points) / len(one.points), f"{one.line}, {names[one.group]}")
        for one in curves
        if one.control in shown.yardsticks
    ]
    marks += [Mark(scale * shown.chance, "chance")] if shown.chance is not None and curves else []
    ends = (-2, 102) if shown.share else (min(0.0, *(low for _, low, _ in band), *_lows(attacks)) - _SLACK, 1 + _SLACK)
    title = f"{shown.name} of {shown.whom}"
    title = title if len(title) <= _TITLE else shown.name
    return Panel(
        ACROSS, shown.up, lines, marks=marks, band=Band(band, "controls, least to greatest"), title=title, ends=ends
    )


def band_of(shown: Shown, curves: Sequence[Curve]) -> list[tuple[int, float, float]]:
    """Return (rounds, least, greatest mean of the controls and chance) of a threat, round after round."""
    points = [
        (point.round, end)
        for one in curves
        if one.control in shown.controls
        for point in one.points
        for end in _ends(point, shown)
    ]
    return [
        (at, min(end for _, end in own), max(end for _, end in own))
        for at, own in sorted(grouped(points, lambda item: item[0]).items())
    ]


def _ends(point: RoundPoint, shown: Shown) -> Iterator[float]:
    """Yield the values of a control's point that the band includes."""
    yield point.value
    yield from [shown.chance] if shown.chance is not None else []
    yield from [end for end in (point.low, point.high) if shown.whole and end is not None]


def _points(curve: Curve) -> list[Point]:
    return [
        Point(one.round, one.value, None if one.low is None or one.high is None else (one.low, one.high))
        for one in curve.points
    ]


def _lows(lines: Sequence[Sweep]) -> list[float]:
    return [point.interval[0] if point.interval else point.mean for line in lines for point in line.points] or [0.0]
