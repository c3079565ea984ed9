"""Figures of how much leaks: over the victims, against a threshold, a round or T; and of what neurons fire."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter, NullLocator

from judges.report.figures import (
    COLOURS,
    FONT_SIZE,
    GOOD,
    INK,
    MARKERS,
    MUTED,
    Point,
    panels,
    svg_uri,
    thinned,
    verbatim,
)
from judges.report.formats import two_digits

MOST_STEPS = 200
"""Points of a distribution that are drawn at most: it is off by at most half a per cent of the victims."""

_STROKES = ("-", "-.", (0, (1, 1)))
_DASHED = (0, (4, 2))
_SIGN = 0.062
"""About how wide a sign of a legend is, in inches."""

_LINE = 0.18
"""How high a line of a legend is, in inches."""


class Sweep(NamedTuple):
    """A line of a figure: lines of one way share a colour, those of one attack a marker."""

    attack: str
    way: str
    points: Sequence[Point]

    @property
    def name(self) -> str:
        """Return what the legend says."""
        return f"{self.attack}, {self.way}" if self.way else self.attack


class Sample(NamedTuple):
    """The measure of every victim of an attack, or of a control."""

    name: str
    values: Sequence[float]
    control: bool


class Mark(NamedTuple):
    """A value with a meaning, and its name."""

    value: float
    name: str


class Rates(NamedTuple):
    """A layer of spiking neurons: spikes a neuron and time step, and the share of its neurons that never spiked."""

    firing: float
    silent: float


def cdf_figure(samples: Sequence[Sample], *, measure: str, mark: Mark, ends: tuple[float, float]) -> str:
    """Return the empirical distribution of a measure over the victims, a line an attack, as an SVG data URI.

    Args:
        samples: the attacks, in the order of their colours; controls are grey and dashed. Each holds a value or more.
        measure: its name and unit.
        mark: where a dotted line stands.
        ends: of the axis; no value is beyond.
    """
    figure, (axes,) = panels(2.75, 1.85, 1)
    low, high = ends
    places = iter(range(len(samples)))
    for sample in samples:
        places_of, shares = ecdf(sample.values)
        across, up = np.concatenate([[low], places_of, [high]]), 100 * np.concatenate([[0.0], shares, [1.0]])
        name = verbatim(sample.name, 32)
        if sample.control:
            axes.step(across, up, where="post", color=MUTED, linestyle=_DASHED, linewidth=1.4, label=name)
            continue
        place = next(places)
        colour, stroke = COLOURS[place % len(COLOURS)], _STROKES[place // len(COLOURS) % len(_STROKES)]
        width = max(1.0, 2.4 - 0.6 * place)  # so that lines on top of each other are seen
        axes.step(across, up, where="post", color=colour, linestyle=stroke, linewidth=width, label=name)
    axes.axvline(mark.value, color=MUTED, linewidth=0.9, linestyle=":")
    axes.text(
        mark.value,
        1.02,
        mark.name,
        color=INK,
        fontsize=FONT_SIZE,
        ha="center",
        va="bottom",
        transform=axes.get_xaxis_transform(),
    )
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    axes.set_ylim(-2, 102)
    axes.set_xlabel(measure, color=INK)
    axes.set_ylabel("at or below, %", color=INK)
    _legend(figure, [axes])
    return svg_uri(figure)


def ecdf(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return points (value, share of values at or below it) of an empirical distribution, at most 200 of them.

    Of more values those at evenly spaced ranks are kept, the least and the greatest among them.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ranks = thinned(np.arange(len(ordered)), MOST_STEPS)
    return ordered[ranks], (ranks + 1) / len(ordered)


def trend_figure(
    lines: Sequence[Sweep], level: Sequence[Sweep], *, across: str, up: str, reference: Mark | None
) -> str:
    """Return means with their intervals against whatever varies, a line an attack, as an SVG data URI.

    Args:
        lines: what varies; places are greater than 0.
        level: what does not vary: one point each, drawn as a dashed line across.
        across, up: names of the axes.
        reference: what needs no attack; a dotted line, where there is one.
    """
    figure, (axes,) = panels(3.5, 2.2, 1)
    draw_sweeps(axes, lines, level)
    if reference is not None:
        axes.axhline(reference.value, color=MUTED, linewidth=1.2, linestyle=":", label=verbatim(reference.name))
    places = sorted({point.tau for line in lines for point in line.points})
    if places[-1] >= 8 * places[0]:
        axes.set_xscale("log", base=2)
    if len(places) <= 10:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    _legend(figure, [axes])
    return svg_uri(figure)


def firing_figure(layers: Mapping[str, Rates]) -> str:
    """Return how often the neurons of each layer fire, bars from the input down, as an SVG data URI.

    Args:
        layers: {layer: its rates}, at least one. The rate is a bar, the silent share a line with an end.
    """
    figure, (axes,) = panels(3.5, 0.5 + 0.36 * len(layers), 1)
    rows = np.arange(len(layers))
    rates = [rate.firing for rate in layers.values()]
    silent = [rate.silent for rate in layers.values()]
    axes.hlines(rows + 0.22, 0, silent, color=MUTED, linewidth=1.4)
    axes.plot(silent, rows + 0.22, "|", color=INK, markersize=6, markeredgewidth=1.4, label="share of silent neurons")
    axes.barh(rows - 0.14, rates, height=0.34, color=GOOD, label="spikes a neuron and time step")
    for row, rate in zip(rows, rates, strict=True):
        axes.text(rate + 0.015, row - 0.14, two_digits(rate), color=INK, fontsize=FONT_SIZE, va="center", ha="left")
    axes.set_yticks(rows, [verbatim(name, 24) for name in layers], color=INK)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, max(1.02, 1.15 * max(rates)))
    axes.tick_params(axis="y", length=0)
    _legend(figure, [axes])
    return svg_uri(figure)


def sweep_figure(
    asr: Sequence[Sweep],
    l2: Sequence[Sweep],
    *,
    chance: float | None,
    guess: Sequence[Point],
    norm: float | None,
) -> str:
    """Return success rate, left, and l2, right, against the threshold, with their intervals, as an SVG data URI.

    Args:
        asr: of each attack and way of thresholding, in [0, 1].
        l2: the same; a distance of 0 makes the axis linear, else it is logarithmic.
        chance: success rate of guessing; a dotted line.
        guess: l2 of the thresholded guess with zero steps; a grey dashed line.
        norm: l2 of the empty recording; a grey dotted line.
    """
    figure, (left, right) = panels(7.4, 2.9, 2)
    draw_sweeps(left, [in_percent(line) for line in asr])
    draw_sweeps(right, l2)
    if not asr:
        left.text(
            0.5, 0.5, "no judge", fontsize=FONT_SIZE, ha="center", va="center", color=INK, transform=left.transAxes
        )
    if chance is not None:
        left.axhline(100 * chance, color=MUTED, linewidth=1.0, linestyle=":", label="chance")
    left.set_ylim(bottom=0)
    _draw_references(right, guess, norm)
    means = [point.mean for line in l2 for point in line.points]
    if means and min(means) > 0:
        right.set_yscale("log")
        for put in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
            put(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    for axes, name in ((left, "ASR, %"), (right, "mean l2")):
        axes.set_xlabel("tau", color=INK)
        axes.set_ylabel(name, color=INK)
    _legend(figure, [right, left])
    return svg_uri(figure)


def draw_sweeps(axes: Axes, lines: Sequence[Sweep], level: Sequence[Sweep] = ()) -> None:
    """Draw lines with their bands; points of several lines at one place stay visible by their markers.

    Args:
        axes: to draw in.
        lines: with their points.
        level: of one point each; drawn as a dashed line from side to side.
    """
    ways = list(dict.fromkeys(line.way for line in (*lines, *level)))
    attacks = list(dict.fromkeys(line.attack for line in (*lines, *level)))
    for line in lines:
        colour = COLOURS[ways.index(line.way) % len(COLOURS)]
        marker = MARKERS[attacks.index(line.attack) % len(MARKERS)]
        taus, means = [point.tau for point in line.points], [point.mean for point in line.points]
        banded = [(point.tau, *point.interval) for point in line.points if point.interval]
        if banded:
            places, low, high = zip(*banded, strict=True)
            axes.fill_between(places, low, high, color=colour, alpha=0.1, linewidth=0)
        axes.plot(
            taus, means, color=colour, marker=marker, markersize=4, markerfacecolor="none", linewidth=1.0, alpha=0.9,
            label=verbatim(line.name),
        )  # fmt: skip
    for line in level:
        colour = COLOURS[ways.index(line.way) % len(COLOURS)]
        stroke = (0, (6 - min(4, 2 * attacks.index(line.attack)), 2))
        axes.axhline(line.points[0].mean, color=colour, linewidth=1.1, linestyle=stroke, label=verbatim(line.name))


def in_percent(line: Sweep) -> Sweep:
    """Return a line of shares as one of numbers out of 100."""
    return line._replace(points=[_percent(point) for point in line.points])


def _percent(point: Point) -> Point:
    bounds = None if point.interval is None else (100 * point.interval[0], 100 * point.interval[1])
    return Point(point.tau, 100 * point.mean, bounds)


def _draw_references(axes: Axes, guess: Sequence[Point], norm: float | None) -> None:
    """Draw the l2 of the guess, broad and behind the lines, which may lie on it, and of the empty recording."""
    if guess:
        taus, means = [point.tau for point in guess], [point.mean for point in guess]
        label = "guess, zero steps"
        axes.plot(taus, means, color=MUTED, linewidth=4.0, linestyle="--", alpha=0.5, label=label, zorder=1)
    if norm is not None:
        axes.axhline(norm, color=MUTED, linewidth=1.0, linestyle=":", label="empty recording")


def _legend(figure: Figure, parts: Sequence[Axes]) -> None:
    """Put one legend of all panels below them, for which the figure grows, in as many columns as its names leave."""
    told = [axes.get_legend_handles_labels() for axes in parts]
    lines = {label: handle for pair in told for handle, label in zip(*pair, strict=True)}
    widest = 0.45 + _SIGN * max(map(len, lines), default=0)
    columns = max(1, min(3, int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + _LINE * math.ceil(len(lines) / columns))
    figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        fontsize=FONT_SIZE,
        columnspacing=1.2,
        handlelength=2.2,
    )
