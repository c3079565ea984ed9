"""The galleries and strips of a run as drawings for files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure
from torch import Tensor

from judges.figures.dots import Dots, dot_strips
from judges.figures.files import WIDTHS, Draw
from judges.figures.grid import picture_grid
from judges.report.formats import DASH, grouped, number
from judges.report.victims.dots import Strips
from judges.report.victims.folds import Seen, Victim, Victims
from judges.report.victims.glance import MOST_SETTINGS, ways
from judges.runs.pictures import ANSWER, TRUTH

_NARROW, _WIDE = 5, 10
"""How many victims stand side by side in one column, and in two."""


def gallery_drawings(victims: Victims) -> Iterator[tuple[str, Draw]]:
    """Yield a figure of each of the first settings whose pictures may be shown: truth above the answers of each attack.

    The victims are those that most cells have, in the order of the rows, and so not chosen by their looks.
    """
    drawn = [victim for victim in victims.shown if victim.truth.uri and victim.seen]
    settings = list(grouped(drawn, lambda victim: victim.key[0]).values())[:MOST_SETTINGS]
    for place, own in enumerate(settings, start=1):
        most = max(len(victim.seen) for victim in own)
        shown = [victim for victim in own if len(victim.seen) == most][:_WIDE]
        yield f"gallery-{place}", partial(_gallery, shown)


def strip_drawings(strips: Sequence[Strips]) -> Iterator[tuple[str, Draw]]:
    """Yield the strips of each measure as a figure."""
    for place, one in enumerate(strips, start=1):
        yield f"victims-{place}", partial(_strips, one)


def _gallery(victims: Sequence[Victim], width: float) -> Figure:
    shown = victims[: _NARROW if width <= WIDTHS["1col"] else _WIDE]
    names = list(dict.fromkeys(name for victim in shown for name, _ in ways(victim)))
    answers = [dict(ways(victim)) for victim in shown]
    rows: list[list[Tensor | None]] = [[_picture(victim.seen[0], TRUTH) for victim in shown]]
    captions = [[f"label {victim.label}" for victim in shown]]
    for name in names:
        own = [known.get(name) for known in answers]
        rows.append([None if seen is None else _picture(seen, ANSWER) for seen in own])
        captions.append(["" if seen is None else _near(seen) for seen in own])
    return picture_grid(rows, names=["truth", *names], columns=(), width_inches=width, captions=captions)


def _picture(seen: Seen, kind: str) -> Tensor:
    """Return a picture from 0, black, to 1, white."""
    low, high = seen.pictures.limits_of(kind, seen.at)
    return (seen.pictures.images[kind][seen.at] - low) / (high - low)


def _near(seen: Seen) -> str:
    """Return how near an answer is: its SSIM, or its l2 where thresholding was tried."""
    numbers = seen.pictures.numbers
    if seen.cell.tau is not None:
        return f"l2 {number(numbers['l2'][seen.at])}"
    return number(numbers["ssim"][seen.at]) if "ssim" in numbers else DASH


def _strips(one: Strips, width: float) -> Figure:
    groups = {name: [Dots(line.name, line.values, line.band) for line in lines] for name, lines in one.groups.items()}
    ends, measure = (one.axis.low, one.axis.high), f"{one.measure.name} of each victim"
    return dot_strips(groups, measure=measure, ends=ends, threshold=one.axis.threshold, width_inches=width)
