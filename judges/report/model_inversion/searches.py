"""How model inversions came to their answers: the pictures of their searches, from the first step to the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from judges.figures.files import WIDTHS, Draw
from judges.figures.grid import picture_grid
from judges.report.figures import picture_uri, thinned
from judges.report.formats import counted
from judges.report.pictures import COLUMNS, Part, Sheet, Shot, ShotRow
from judges.runs.names import attack_name, network, network_name
from judges.runs.pictures import ANSWER, Pictures

_NARROW, _WIDE = 5, COLUMNS
"""How many pictures of a search stand in one column of an article, and in two or on a page."""

Filmed = tuple[Pictures, Tensor]
"""An album and the pictures (K, S, C, H, W) of its searches."""


def search_parts(albums: Sequence[Pictures]) -> Iterator[Part]:
    """Yield the searches for the class of which reports show the spikes, and folded those for the others."""
    filmed = _filmed(albums)
    if not filmed:
        return
    first, classes = filmed[0][0].spikes_of, range(len(filmed[0][0].subjects))
    yield Part("From the first step to the last", (_sheet(filmed, first),))
    others = tuple(_sheet(filmed, at) for at in classes if at != first)
    if others:
        yield Part("The searches for the other classes", others, folded=True)


def search_drawings(albums: Sequence[Pictures], name: str) -> Iterator[tuple[str, Draw]]:
    """Yield the searches for the same class as a drawing for files, if any kept pictures."""
    filmed = _filmed(albums)
    if filmed:
        yield name, partial(_search, filmed)


def _filmed(albums: Sequence[Pictures]) -> list[Filmed]:
    return [(album, album.snapshots) for album in albums if album.snapshots is not None]


def _sheet(filmed: Sequence[Filmed], at: int) -> Sheet:
    """Return the searches for one class, a row for each attack."""
    rows = tuple(ShotRow(attack_name(one), network_name(one), tuple(_shots(one, taken[at], at)))
                 for one, taken in filmed)  # fmt: skip
    most = max(len(row.shots) for row in rows)
    return Sheet(("starting point", *("later",) * (most - 1)), rows, f"class {filmed[0][0].subjects[at]}")


def _shots(album: Pictures, taken: Tensor, at: int) -> Iterator[Shot]:
    """Yield the pictures (S, C, H, W) of a search, as bright as its answer."""
    (low, high), steps = album.limits_of(ANSWER, at), album.steps_of(at)
    for place in thinned(np.arange(len(steps)), _WIDE):
        told = f"{attack_name(album)} for class {album.subjects[at]} after {counted(steps[place], 'step')}"
        yield Shot(picture_uri(taken[place], low=low, high=high), told, (f"step {steps[place]}",))


def _search(filmed: Sequence[Filmed], width: float) -> Figure:
    """Draw the searches for one class, a row for each attack."""
    rows, captions, at = [], [], filmed[0][0].spikes_of
    for album, taken in filmed:
        (low, high), steps = album.limits_of(ANSWER, at), album.steps_of(at)
        shown = thinned(np.arange(len(steps)), _NARROW if width <= WIDTHS["1col"] else _WIDE)
        rows.append([(taken[at, place] - low) / (high - low) for place in shown])
        captions.append([f"step {steps[place]}" for place in shown])
    names = [f"{attack_name(album)}\n{network(album)}" for album, _ in filmed]
    return picture_grid(rows, names=names, columns=(), width_inches=width, captions=captions)
