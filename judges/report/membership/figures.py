"""The ROC curves of a report on membership inference, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from judges.figures.drawing import COLOURS, FONT_SIZE, INK, MUTED, STROKES, verbatim
from judges.figures.files import Draw, captioned
from judges.report.figures import panels, svg_uri
from judges.report.table import Drawing
from judges.runs.names import attack_name, target_name
from judges.runs.rows.classes import Target
from judges.summaries.membership import Memberships, MembershipSummary

_SIDE, _LEGEND_LINE = 3.2, 0.18
_PER_ROW = 2


def roc_drawing(summary: Memberships) -> Drawing:
    """Return the ROC curves of every kind of target."""
    shown = []
    for target, cells in by_target(summary).items():
        names = ", ".join(attack_name(cell) for cell in cells)
        alt = f"true positive rate against false positive rate on {target_name(target)}: {names}"
        shown.append((f"ROC, {target_name(target)}", alt, svg_uri(roc_figure(target, cells, width=_SIDE + 0.6))))
    return Drawing("sweep.html.j2", shown)


def roc_files(summary: Memberships) -> Iterator[tuple[str, Draw]]:
    """Yield the same as drawings for files."""
    for place, (target, cells) in enumerate(by_target(summary).items(), start=1):
        yield f"roc-{place}", captioned(partial(_drawn, target, cells), target_name(target))


def by_target(summary: Memberships) -> dict[Target, list[MembershipSummary]]:
    """Return the attacks whose curves have points, by kind of target."""
    found: dict[Target, list[MembershipSummary]] = {}
    for cell in summary.cells:
        if not cell.control and len(cell.curve) > 1:
            found.setdefault(cell.target, []).append(cell)
    return found


def _drawn(target: Target, cells: Sequence[MembershipSummary], width: float) -> Figure:
    return roc_figure(target, cells, width=min(width, 2 * _SIDE))


def roc_figure(target: Target, cells: Sequence[MembershipSummary], *, width: float) -> Figure:
    """Return the ROC curves of attacks on one kind of target.

    Args:
        target: of all cells.
        cells: each with a curve of at least two points.
        width: of the figure, in inches.
    """
    figure, (axes,) = panels(width, 0.85 * width, ("false positive rate", "true positive rate"))
    least = min(rate for cell in cells for rate, _ in cell.curve)
    axes.plot([least, 1], [least, 1], color=MUTED, linewidth=1.2, linestyle=":", label="chance")
    for place, cell in enumerate(cells):
        false, true = zip(*((rate, share) for rate, share in cell.curve if share > 0), strict=True)
        stroke, colour = STROKES[place // len(COLOURS) % len(STROKES)], COLOURS[place % len(COLOURS)]
        axes.plot(false, true, color=colour, linewidth=1.1, linestyle=stroke, label=verbatim(attack_name(cell)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(min(least, *axes.get_ylim()), 1)
    axes.set_title(verbatim(target_name(target), 60), color=INK, fontsize=FONT_SIZE, loc="left")
    lines = (len(cells) + _PER_ROW) // _PER_ROW
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * lines)
    look = {"frameon": False, "labelcolor": INK, "fontsize": FONT_SIZE, "handlelength": 2.2}
    figure.legend(loc="outside lower center", ncols=_PER_ROW, **look)
    return figure
