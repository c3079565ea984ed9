"""How answers to recordings of events fare over time: curves over the time steps, and the correlation of profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from judges.figures.dots import Dots, dot_strips
from judges.figures.files import Draw, captioned
from judges.report.curves import Panel, Sweep, lines_figure, panel_drawing
from judges.report.figures import Point, svg_uri
from judges.report.formats import DASH, grouped, interval, joined, number, tenths
from judges.report.table import Cell, Column, Drawing, Group, Section, Table
from judges.runs.identity import BLACK, CLASS_MEAN, MEAN_IMAGE, NO_OP
from judges.runs.names import attack_name, group_name, line_name, way_name
from judges.runs.timelines import Timelines
from judges.summaries.timelines import ByStep, TimeSummary

_CONTROLS: Mapping[str, str] = {
    BLACK: "empty recording",
    MEAN_IMAGE: "mean recording",
    CLASS_MEAN: "mean of the class",
    NO_OP: "guess, zero steps",
}
"""The controls that have curves, and what these are called."""

_PANEL = (2.7, 2.4)  # size of a panel in inches
_PAGE = 7.2  # width of the strips on the page in inches


class TimeBlock(NamedTuple):
    """The attacks on one group of victims at one threshold, or without any, beside the controls."""

    name: str
    lines: Sequence[TimeSummary]  # attacks, then controls
    victims: Mapping[str, Sequence[float]]  # {cell: the correlation of each victim, NaN where it is not defined}

    @property
    def panels(self) -> Mapping[str, Panel]:
        """Return {measure: what is drawn}; SSIM only where it is defined."""
        truth = Sweep("truth", "", _points(self.lines[0].truth))
        spiking = self._sweeps(lambda one: one.answer)
        spikes = Panel("time step", "spikes", spiking, beneath=truth, ticks=False, counts=True)
        l2 = Panel("time step", "l2", self._sweeps(lambda one: one.l2), ticks=False)
        similar = self._sweeps(lambda one: one.ssim or ())
        shown = {"spikes": spikes, "l2": l2}
        return shown | ({"ssim": Panel("time step", "SSIM", similar, ticks=False)} if similar else {})

    def _sweeps(self, of: Callable[[TimeSummary], ByStep]) -> list[Sweep]:
        """Return the lines of a measure that have any value; where names are shared, with the cell's."""
        names = [_name(one) for one in self.lines]
        told = [(joined(name[0], one.cell), name[1]) if names.count(name) > 1 else name
                for name, one in zip(names, self.lines, strict=True)]  # fmt: skip
        sweeps = [Sweep(*name, _points(of(one))) for name, one in zip(told, self.lines, strict=True)]
        return [sweep for sweep in sweeps if sweep.points]

    def strips(self, width: float) -> Figure:
        """Return the correlation of each victim as a figure, a row for each line that has any."""
        names = [_name(one)[0] if one.is_control else joined(*_name(one)) for one in self.lines]
        known = zip(names, map(self._defined, self.lines), strict=True)
        rows = [Dots(name, values) for name, values in known if values]
        return dot_strips({self.name: rows}, measure="correlation of each victim", ends=(-1.05, 1.05), threshold=0.0,
                          width_inches=width)  # fmt: skip

    @property
    def has_strips(self) -> bool:
        """Return whether the correlation of any victim is defined."""
        return any(map(self._defined, self.lines))

    def _defined(self, one: TimeSummary) -> list[float]:
        return [value for value in self.victims.get(one.cell, ()) if math.isfinite(value)]


def time_blocks(summaries: Sequence[TimeSummary], timelines: Sequence[Timelines]) -> list[TimeBlock]:
    """Return the blocks of a run: by what was attacked, and then by threshold.

    Args:
        summaries: those of the run.
        timelines: of the victims, as far as their files are there.
    """
    victims = {one.key: one.correlation.tolist() for one in timelines}
    blocks = []
    for group, own in grouped(summaries, lambda one: one.group).items():
        attacks = grouped((one for one in own if not one.is_control), lambda one: one.tau)
        controls = [one for one in own if one.control in _CONTROLS]
        for tau in sorted(attacks, key=lambda tau: -1.0 if tau is None else tau):
            beside = [one for one in controls if one.control != NO_OP or one.tau == tau]
            lines = [*attacks[tau], *beside]
            known = {one.cell: victims[group, one.cell] for one in lines if (group, one.cell) in victims}
            name = joined(group_name(group), "" if tau is None else f"tau {tau:g}")
            blocks.append(TimeBlock(name, lines, known))
    return blocks


def time_section(blocks: Sequence[TimeBlock], lead: str) -> Section:
    """Return the section on answers over time: for each block its curves and strips, then the correlations."""
    columns: list[Column[TimeSummary]] = [
        Column("Attack", lambda one: _CONTROLS.get(one.control) or line_name(one)),
        Column("Correlation", _correlation, unit="mean [95 %]", under="defined"),
        Column("Spikes", lambda one: _total(one.answer), unit="a recording"),
        Column("Truth", lambda one: _total(one.truth), unit="spikes"),
    ]
    parts: list[Table[TimeSummary] | Drawing] = [Drawing("sweep.html.j2", _drawn(one), one.name) for one in blocks]
    groups = [Group(one.lines, one.name) for one in blocks]
    label = "Correlation of the profiles of spikes"
    table = Table(label, columns, groups, grouped_by="Victims", css="plain numbers", fold=label)
    return Section("time", "Over time", [*parts, table], lead=lead)


def time_drawings(blocks: Sequence[TimeBlock]) -> Iterator[tuple[str, Draw]]:
    """Yield a figure of each measure of each block, for files."""
    for place, block in enumerate(blocks, start=1):
        for name, panel in block.panels.items():
            yield f"time-{place}-{name}", captioned(panel_drawing(panel), block.name)
        if block.has_strips:
            yield f"time-{place}-correlation", captioned(partial(TimeBlock.strips, block), block.name)


def _drawn(block: TimeBlock) -> list[tuple[str, str, str]]:
    """Return (label, text in place of the figure, figure) of a block's curves and of its strips."""
    measures = ", ".join(panel.up for panel in block.panels.values())
    alt = f"{measures} against the time step, of {block.name}, beside controls"
    width, height = _PANEL
    shown = [(f"Over time, {block.name}", alt, lines_figure(list(block.panels.values()), width=width, height=height))]
    if block.has_strips:
        alt = f"correlation over time of the profile of spikes of each victim with the truth's, of {block.name}"
        shown.append((f"Correlation over time, {block.name}", alt, svg_uri(block.strips(_PAGE))))
    return shown


def _name(one: TimeSummary) -> tuple[str, str]:
    """Return what the marker and the colour of a line stand for."""
    if one.is_control:
        return _CONTROLS[one.control], "control"
    return attack_name(one), "" if one.tau is None else way_name(one.thresholding)


def _points(values: ByStep) -> list[Point]:
    return [Point(step, value, None) for step, value in enumerate(values, start=1) if value is not None]


def _correlation(one: TimeSummary) -> Cell:
    """Return the mean correlation above the number of examples of which it is defined."""
    defined = f"{one.defined} of {one.n}"
    if one.correlation is None:
        return Cell(DASH, under=(defined,))
    return Cell(number(one.correlation.mean), interval(one.interval), (defined,))


def _total(values: ByStep) -> str:
    """Return the sum over the steps; an infinity sign where a step has no finite mean."""
    known = [value for value in values if value is not None]
    return tenths(sum(known) if len(known) == len(values) else None)
