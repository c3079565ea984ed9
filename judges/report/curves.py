"""Figures of how much leaks against a threshold, a round or T; and of how often neurons fire."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, NullFormatter, NullLocator

from judges.figures.drawing import COLOURS, FONT_SIZE, INK, MARKERS, MUTED, STROKES, verbatim
from judges.figures.files import Draw
from judges.report.figures import Point, note, panels, svg_uri
from judges.report.formats import joined, two_digits

_CHARACTER, _LINE = 0.062, 0.18  # about how wide a character and how high a line of a legend are, in inches


class Sweep(NamedTuple):
    """A line with its band, named by two things: the marker shows the first, an attack say, the colour the second."""

    marker: str
    colour: str
    points: Sequence[Point]

    @property
    def name(self) -> str:
        """Return what the legend says."""
        return joined(self.marker, self.colour)


class _Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    marker: str
    stroke: str


class Mark(NamedTuple):
    """A value with a meaning, and its name."""

    value: float
    name: str


class Band(NamedTuple):
    """What lies between two lines, and its name; each point is (place, low, high)."""

    points: Sequence[tuple[float, float, float]]
    name: str


class Rates(NamedTuple):
    """Spikes per neuron and time step in a layer, and the share of its neurons that never spiked."""

    firing: float
    silent: float


class Panel(NamedTuple):
    """What one panel shows against its axis: lines, and what they stand beside."""

    across: str  # name of the axis
    up: str  # likewise
    lines: Sequence[Sweep]
    level: Sequence[Sweep] = ()  # what does not vary: one point each, drawn as a dashed line from side to side
    beneath: Sweep | None = None  # a broad grey line below the others, which may lie on it
    marks: Sequence[Mark] = ()  # values that need no attack, drawn as dotted lines
    band: Band | None = None  # a grey area below the lines
    title: str = ""
    ticks: bool = True  # whether the places of the points have ticks, on a logarithmic axis where they go far
    ends: tuple[float | None, float | None] = (None, None)  # of the axis upwards; None: as far as what is drawn
    logarithmic: bool = False  # whether that axis is logarithmic if no mean is 0
    counts: bool = False  # whether it is of counts: linear up to 1, so that 0 has a place, and logarithmic above
    missing: str = ""  # what stands in the panel if there are no lines


def lines_figure(shown: Sequence[Panel], *, width: float, height: float) -> str:
    """Return `lines_drawing` as an SVG data URI."""
    return svg_uri(lines_drawing(shown, width=width, height=height))


def lines_drawing(shown: Sequence[Panel], *, width: float, height: float) -> Figure:
    """Return means with their intervals against whatever varies.

    The panels stand side by side, each of this size in inches; colours and markers mean the same in all of them.
    """
    figure, parts = panels(width * len(shown), height, *((panel.across, panel.up) for panel in shown))
    every = [line for panel in shown for line in (*panel.lines, *panel.level)]
    colours = {name: place for place, name in enumerate(dict.fromkeys(line.colour for line in every))}
    markers = {name: place for place, name in enumerate(dict.fromkeys(line.marker for line in every))}
    for axes, panel in zip(parts, shown, strict=True):
        axes.set_title(verbatim(panel.title), color=INK, fontsize=FONT_SIZE, loc="left")
        if panel.band and panel.band.points:
            places, low, high = zip(*panel.band.points, strict=True)
            label = verbatim(panel.band.name)
            axes.fill_between(places, low, high, color=MUTED, alpha=0.25, linewidth=0, zorder=0, label=label)
        if panel.beneath and panel.beneath.points:
            across, up, _ = zip(*panel.beneath.points, strict=True)
            axes.plot(across, up, color=MUTED, linewidth=4.0, alpha=0.5, label=panel.beneath.name, zorder=1)
        for line in panel.lines:
            _draw_line(axes, line, _look(colours[line.colour], markers[line.marker]))
        for line in panel.level:
            colour, stroke = _look(colours[line.colour], 0).colour, (0, (6 - min(4, 2 * markers[line.marker]), 2))
            label = verbatim(line.name)
            axes.axhline(line.points[0].mean, color=colour, linewidth=1.1, linestyle=stroke, label=label)
        for mark in panel.marks:
            axes.axhline(mark.value, color=MUTED, linewidth=1.2, linestyle=":", label=verbatim(mark.name))
        _set_axes(axes, panel)
    _add_legend(figure, parts)
    return figure


def panel_drawing(panel: Panel) -> Draw:
    """Return what draws a panel alone, for a file."""
    return lambda width: lines_drawing([panel], width=width, height=min(0.62 * width, 2.8))


def _look(colour: int, marker: int) -> _Look:
    """Return the look of a line by the numbers of its two names; another stroke tells colours apart that come again."""
    stroke = STROKES[(colour // len(COLOURS) + 2 * (marker // len(MARKERS))) % len(STROKES)]
    return _Look(COLOURS[colour % len(COLOURS)], MARKERS[marker % len(MARKERS)], stroke)


def _draw_line(axes: Axes, line: Sweep, look: _Look) -> None:
    """Draw a line with its band; hollow markers keep points of several lines at one place visible."""
    banded = [(point.tau, *point.interval) for point in line.points if point.interval]
    if banded:
        places, low, high = zip(*banded, strict=True)
        axes.fill_between(places, low, high, color=look.colour, alpha=0.1, linewidth=0)
    across, up, _ = zip(*line.points, strict=True)
    (drawn,) = axes.plot(across, up, color=look.colour, marker=look.marker, linestyle=look.stroke, linewidth=1.0)
    drawn.set(markersize=4, markerfacecolor="none", alpha=0.9, label=verbatim(line.name))


def _set_axes(axes: Axes, panel: Panel) -> None:
    """Set the ends, scales and ticks of a panel."""
    points = [point for line in panel.lines for point in line.points]
    places = sorted({point.tau for point in points})
    if not points:
        note(axes, (0.5, 0.5), panel.missing, ha="center", by=axes.transAxes)
    elif panel.logarithmic and min(point.mean for point in points) > 0:
        axes.set_yscale("log")
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    elif panel.counts:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.set_ylim(*panel.ends)  # keeps the ends as they are, which are found on the scale
    if panel.ticks and points:
        if places[-1] >= 8 * places[0] > 0:
            axes.set_xscale("log", base=2)
        if len(places) <= 10:
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


def in_percent(line: Sweep) -> Sweep:
    """Return a line of shares as one of numbers out of 100."""
    scaled = [Point(at, 100 * mean, ends and (100 * ends[0], 100 * ends[1])) for at, mean, ends in line.points]
    return line._replace(points=scaled)


def firing_figure(layers: Mapping[str, Rates]) -> str:
    """Return how often the neurons of each layer fire, at least one from the input on, as an SVG data URI.

    The firing rate is a bar, the silent share a line with an end.
    """
    figure, (axes,) = panels(3.5, 0.5 + 0.36 * len(layers), ("", ""))
    rows = np.arange(len(layers))
    rates, silent = zip(*layers.values(), strict=True)
    axes.hlines(rows + 0.22, 0, silent, color=MUTED, linewidth=1.4)
    axes.plot(silent, rows + 0.22, "|", color=INK, markersize=6, markeredgewidth=1.4, label="share of silent neurons")
    axes.barh(rows - 0.14, rates, height=0.34, color=COLOURS[0], label="spikes per neuron and time step")
    for row, rate in zip(rows, rates, strict=True):
        note(axes, (rate + 0.015, row - 0.14), two_digits(rate))
    axes.set_yticks(rows, [verbatim(name, 24) for name in layers], color=INK)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, max(1.02, 1.15 * max(rates)))
    axes.tick_params(axis="y", length=0)
    _add_legend(figure, [axes])
    return svg_uri(figure)


def _add_legend(figure: Figure, parts: Sequence[Axes]) -> None:
    """Add one legend of all panels below them, for which the figure grows.

    The legend has as many columns as its names leave room for.
    """
    handles = [axes.get_legend_handles_labels() for axes in parts]
    lines = {label: handle for pair in handles for handle, label in zip(*pair, strict=True)}
    widest = 0.45 + _CHARACTER * max(map(len, lines), default=0)
    columns = max(1, min(3, int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + _LINE * math.ceil(len(lines) / columns))
    look = {"frameon": False, "labelcolor": INK, "fontsize": FONT_SIZE, "columnspacing": 1.2, "handlelength": 2.2}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=columns, **look)
