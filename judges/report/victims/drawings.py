"""Figures of victims for articles: truths above the answers, searches step by step, and dots over the controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from judges.figures.dots import Dots, dot_strips
from judges.figures.files import WIDTHS, Draw, captioned
from judges.figures.grid import picture_grid
from judges.report.curves import panel_drawing
from judges.report.figures import thinned
from judges.report.victims.dots import Strips
from judges.report.victims.folds import Seen
from judges.report.victims.glance import nearness
from judges.report.victims.lineup import Lineup, Row, filmed, steps_of
from judges.report.victims.sheets import search_panel
from judges.runs.pictures import ANSWER, TRUTH

_NARROW, _WIDE = 5, 10
"""How many victims stand side by side in one column, and in two."""
_FEW, _MANY = 4, 8
"""How many pictures of a search do."""

_LEGEND = (
    "Dots: the victims; dark bar: their median; dashed line: above this SSIM a picture is recognisable; grey band: the "
    "victims' best controls, which need nothing of their updates, from the least to the greatest, with their median."
)


def lineup_drawings(lineups: Sequence[Lineup]) -> Iterator[tuple[str, Draw]]:
    """Yield a figure of each line-up, and of searches that kept pictures one of its first victim, and their SSIM."""
    for place, one in enumerate(lineups, start=1):
        yield f"gallery-{place}", captioned(partial(_gallery, one), one.name)
        if any(filmed(one)):
            yield f"search-{place}", captioned(partial(_search, one), one.name)
        panel = search_panel(one)
        if panel is not None:
            yield f"search-{place}-ssim", captioned(panel_drawing(panel), one.name)


def strip_drawings(strips: Sequence[Strips]) -> Iterator[tuple[str, Draw]]:
    """Yield the strips of each measure as a figure."""
    for place, one in enumerate(strips, start=1):
        yield f"victims-{place}", captioned(partial(_strips, one), f"{'; '.join(one.groups)}. {_LEGEND}")


def _gallery(lineup: Lineup, width: float) -> Figure:
    """Draw the truths above the answers of each row."""
    most = _NARROW if width <= WIDTHS["1col"] else _WIDE
    rows: list[list[Tensor | None]] = [[_scaled(seen, TRUTH) for seen in lineup.victims[:most]]]
    captions = [[str(label) for label in lineup.labels[:most]]]
    for row in lineup.rows:
        own = row.answers[:most]
        rows.append([None if seen is None else _scaled(seen, ANSWER) for seen in own])
        captions.append(["" if seen is None else nearness(seen) for seen in own])
    names = ["truth\nlabel", *map(_name, lineup.rows)]
    return picture_grid(rows, names=names, columns=(), width_inches=width, captions=captions)


def _search(lineup: Lineup, width: float) -> Figure:
    """Draw the truth of the first victim beside the pictures of each search for it, from the guess to the last step."""
    most = _FEW if width <= WIDTHS["1col"] else _MANY
    rows, names, captions = list[list[Tensor | None]](), list[str](), list[list[str]]()
    for row, seen in ((row, own[0]) for row, own in filmed(lineup)):
        steps = steps_of(seen)
        shown = thinned(np.arange(len(steps)), most)
        rows.append([_scaled(seen, TRUTH), *(_taken(seen, at) for at in shown)])
        captions.append([f"label {lineup.labels[0]}", *(f"step {steps[at]}" for at in shown)])
        names.append(_name(row))
    return picture_grid(rows, names=names, columns=(), width_inches=width, captions=captions)


def _name(row: Row) -> str:
    return f"{row.attack}\n{row.network}" if row.network else row.attack


def _scaled(seen: Seen, kind: str) -> Tensor:
    """Return a picture from 0, black, to 1, white."""
    low, high = seen.pictures.limits_of(kind, seen.at)
    return (seen.pictures.images[kind][seen.at] - low) / (high - low)


def _taken(seen: Seen, at: int) -> Tensor | None:
    """Return a picture of a search from 0 to 1, as bright as the answer."""
    if seen.pictures.snapshots is None:
        return None
    low, high = seen.pictures.limits_of(ANSWER, seen.at)
    return (seen.pictures.snapshots[seen.at, at] - low) / (high - low)


def _strips(one: Strips, width: float) -> Figure:
    groups = {name: [Dots(line.name, line.values, line.band) for line in lines] for name, lines in one.groups.items()}
    ends, measure = (one.axis.low, one.axis.high), f"{one.measure.name} of each victim"
    return dot_strips(groups, measure=measure, ends=ends, threshold=one.axis.threshold, width_inches=width)
