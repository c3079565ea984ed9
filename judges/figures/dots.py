"""Rows of dots over the band of the controls: how every victim of each cell fared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from judges.figures.drawing import FONT_SIZE, GOOD, INK, LONGEST_NAME, MUTED, style, verbatim

_ROW, _FOOT, _TOP = 0.19, 0.42, 0.06  # height of a row, of the axis with its name, and above the first, in inches
_CHARACTER = 0.068  # about how wide a character is, in inches
_LONGEST, _NAMES = 24, 0.38  # the names of rows: of so many characters, or of that share of the width if it is more
_SMALLEST = 0.5  # of the size of text, to which a heading shrinks that is wider than the figure
_SPREAD = 0.22  # how far dots are moved up and down, in rows, so that equal ones are seen
_GOLDEN = 0.618


class Dots(NamedTuple):
    """A row: its name, a dot for each value, and the least, the greatest and the median value of the controls."""

    name: str
    values: Sequence[float]
    band: tuple[float, float, float] | None = None


def dot_strips(
    groups: Mapping[str, Sequence[Dots]],
    *,
    measure: str,
    ends: tuple[float, float],
    threshold: float | None,
    width_inches: float,
) -> Figure:
    """Return a figure of rows of dots on one axis, those of a group below its name.

    Args:
        groups: at least one, each with at least one row.
        measure: name of the axis.
        ends: of the axis.
        threshold: where a dashed line stands, None for none.
        width_inches: of the figure; its height follows from the number of rows.

    Raises:
        ValueError: there is no row.
    """
    count = sum(1 + len(rows) for rows in groups.values())
    if not any(groups.values()):
        raise ValueError("expected at least one row of dots, got none")
    longest = max(len(row.name) for rows in groups.values() for row in rows)
    most = max(_LONGEST, int(_NAMES * width_inches / _CHARACTER))
    left = 0.14 + _CHARACTER * min(longest, most)
    height = _TOP + _ROW * count + _FOOT
    with style():
        figure = Figure(figsize=(width_inches, height))
        FigureCanvasAgg(figure)
        axes = figure.add_axes(
            (left / width_inches, _FOOT / height, 1 - (left + 0.1) / width_inches, _ROW * count / height)
        )
    place, ticks = 0, []
    for name, rows in groups.items():
        at = (-left / (width_inches - left - 0.1) + 0.02, place)
        heading = axes.text(
            *at, verbatim(name, 2 * LONGEST_NAME), transform=axes.get_yaxis_transform(), va="center", color=INK,
            fontsize=FONT_SIZE,
        )  # fmt: skip
        wide = heading.get_window_extent().width / figure.dpi
        heading.set_fontsize(FONT_SIZE * min(1.0, max(_SMALLEST, (width_inches - 0.1) / wide)))
        for number, row in enumerate(rows, start=place + 1):
            _draw(axes, row, number, threshold)
            ticks.append((number, verbatim(row.name, most)))
        place += 1 + len(rows)
    axes.set(xlim=ends, ylim=(count - 0.5, -0.5))
    axes.set_yticks([number for number, _ in ticks], [name for _, name in ticks], color=INK)
    axes.set_xlabel(measure, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", colors=MUTED, labelcolor=INK, width=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.patch.set_alpha(0.0)
    return figure


def _draw(axes: Axes, row: Dots, at: int, threshold: float | None) -> None:
    """Draw the band of the controls, then the dots, and a bar at their median."""
    if row.band is not None:
        low, high, middle = row.band
        axes.fill_between([low, high], at - 0.42, at + 0.42, color=MUTED, alpha=0.28, linewidth=0)
        axes.plot([middle, middle], [at - 0.42, at + 0.42], color=MUTED, linewidth=0.8)
    if threshold is not None:
        axes.plot([threshold, threshold], [at - 0.5, at + 0.5], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    known = np.sort(np.asarray([value for value in row.values if math.isfinite(value)], dtype=np.float64))
    offsets = _SPREAD * (np.arange(len(known)) * _GOLDEN % 1.0 * 2.0 - 1.0)
    axes.plot(known, at + offsets, "o", color=GOOD, markersize=2.6, alpha=0.75, markeredgewidth=0, clip_on=False)
    if len(known):
        axes.plot([float(np.median(known))] * 2, [at - 0.36, at + 0.36], color=INK, linewidth=1.1)
