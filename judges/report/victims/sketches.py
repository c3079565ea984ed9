"""Small drawings of a page, of which there is one for each cell or victim: written as SVG, since drawing each as a
figure would take longer than everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from judges.figures.drawing import COLOURS, GOOD, INK, MUTED
from judges.report.figures import MOST_DOTS, inked, thinned
from judges.report.formats import digits

_WIDE, _HIGH, _PAD = 420, 26, 5  # of a strip, in pixels; the axis ends a pad from its sides
_GOLDEN = 0.618
_CURVE_WIDE, _CURVE_HIGH, _LEFT, _BOTTOM = 340, 150, 52, 18
MOST_STEPS = 80  # how many points of a curve are drawn at most


class Axis(NamedTuple):
    """What the strips below each other share: the ends, and a threshold with a meaning where there is one."""

    low: float
    high: float
    threshold: float | None = None

    def at(self, value: float) -> float:
        """Return where a value stands, in pixels from the left."""
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return round(_PAD + share * (_WIDE - 2 * _PAD), 1)


class Band(NamedTuple):
    """The least and the greatest value of the controls, and their median."""

    low: float
    high: float
    median: float


def strip(values: Sequence[float], axis: Axis, band: Band | None) -> str:
    """Return one dot for each value over the band of the controls as a data URI; a bar stands at the median.

    Of more than 400 values, 400 at evenly spaced ranks are shown, the least and the greatest among them.
    """
    parts = []
    if band is not None:
        left, right, middle = axis.at(band.low), axis.at(band.high), axis.at(band.median)
        wide = max(1.0, round(right - left, 1))
        parts.append(f'<rect x="{left}" y="1" width="{wide}" height="{_HIGH - 2}" fill="{MUTED}" fill-opacity=".28"/>')
        parts.append(_upright(middle, MUTED, 1, _HIGH - 1, ""))
    if axis.threshold is not None:
        parts.append(_upright(axis.at(axis.threshold), MUTED, 0, _HIGH, ' stroke-dasharray="3 3"'))
    known = np.sort(np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64))
    places = thinned(known, MOST_DOTS) if len(known) > MOST_DOTS else known
    dots = "".join(
        f"M{axis.at(float(value))} {_HIGH / 2 + 6 * (place * _GOLDEN % 1.0 * 2 - 1):.1f}h0"
        for place, value in enumerate(places)
    )
    parts.append(f'<path d="{dots}" stroke="{GOOD}" stroke-width="5" stroke-linecap="round" stroke-opacity=".75"/>')
    if len(known):
        parts.append(_upright(axis.at(float(np.median(known))), INK, 3, _HIGH - 3, ' stroke-width="1.5"'))
    return _svg(_WIDE, _HIGH, parts)


def scale(axis: Axis) -> str:
    """Return the numbers of an axis as a data URI that stands above the strips."""
    marks = [axis.low, axis.low + (axis.high - axis.low) / 2, axis.high]
    if axis.threshold is not None:
        marks = sorted({*(round(tick, 2) for tick in (axis.low, axis.high)), axis.threshold})
    parts = []
    for place, mark in enumerate(marks):
        anchor = "start" if not place else "end" if place == len(marks) - 1 else "middle"
        parts += [_text(axis.at(mark), 11, f"{mark:.3g}", anchor), _upright(axis.at(mark), MUTED, 14, 18, "")]
    return _svg(_WIDE, 18, parts)


def curves(lines: Sequence[Sequence[float]]) -> str:
    """Return curves over the steps of an attack on a logarithmic scale as a data URI, each in the colour of its place.

    Values that are not above 0 are left out; there are at least two colours, which come again after the last.
    """
    drawn = [[(step, value) for step, value in enumerate(line) if value > 0 and math.isfinite(value)] for line in lines]
    points = [point for line in drawn for point in line]
    if not points:
        return ""
    last = max(step for step, _ in points) or 1
    low, high = (math.log10(end(value for _, value in points)) for end in (min, max))
    right, top = _CURVE_WIDE - 6, 8

    def at(step: int, value: float) -> str:
        share = (math.log10(value) - low) / ((high - low) or 1.0)
        return f"{_LEFT + step / last * (right - _LEFT):.1f} {_CURVE_HIGH - _BOTTOM - share * (_CURVE_HIGH - 26):.1f}"

    parts = [
        f'<path d="M{_LEFT} {top}V{_CURVE_HIGH - _BOTTOM}H{right}" fill="none" stroke="{MUTED}"/>',
        _text(_LEFT - 4, top + 8, digits(10**high), "end"),
        _text(_LEFT - 4, _CURVE_HIGH - _BOTTOM, digits(10**low), "end"),
        _text(_LEFT, _CURVE_HIGH - 4, "step 0", "start"),
        _text(right, _CURVE_HIGH - 4, str(last), "end"),
    ]
    for place, line in enumerate(drawn):
        kept = [line[at] for at in thinned(np.arange(len(line)), MOST_STEPS)]
        path = "M" + "L".join(at(*point) for point in kept) if len(kept) > 1 else ""
        path = path or (f"M{at(*kept[0])}h0" if kept else "")
        colour = COLOURS[place % len(COLOURS)]
        wide = 1.6 if len(kept) > 1 else 5
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-linecap="round"/>')
    return _svg(_CURVE_WIDE, _CURVE_HIGH, parts)


def _upright(across: float, colour: str, top: float, bottom: float, look: str) -> str:
    return f'<path d="M{across} {top}V{bottom}" stroke="{colour}"{look}/>'


def _text(across: float, down: float, text: str, anchor: str) -> str:
    shown = text.replace("-", "\N{MINUS SIGN}")
    font = 'font-family="DejaVu Sans, Verdana, sans-serif" font-size="11"'
    return f'<text x="{across}" y="{down}" {font} fill="{INK}" text-anchor="{anchor}">{shown}</text>'


def _svg(wide: int, high: int, parts: Sequence[str]) -> str:
    return inked(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">'
        f"{''.join(parts)}</svg>"
    )
