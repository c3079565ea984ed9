"""Leak over accuracy, one curve for each defence: the undefended point, the controls' band, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from judges.figures.drawing import COLOURS, FONT_SIZE, INK, MARKERS, MUTED, verbatim
from judges.figures.files import Draw, captioned
from judges.report.figures import note, panels, svg_uri
from judges.report.formats import digits, grouped
from judges.report.table import Drawing
from judges.runs.names import group_name, in_words, network
from judges.summaries.tradeoff import Setting, Tradeoff

_WIDTH, _HEIGHT, _LEGEND_LINE, _ENTRY = 4.0, 3.1, 0.18, 1.75  # in inches
_LABEL_WIDTH, _LABEL_HEIGHT = 15.0, 0.06  # of an epsilon, in units of the axes
_UNDEFENDED, _FRONT = "no defence", "Pareto front"


def tradeoff_drawing(found: Sequence[Tradeoff]) -> Drawing:
    """Return the figures of the page: networks of one family on one data set side by side."""
    shown = []
    for own in _pictures(found):
        name = f"{in_words(own[0].network.dataset)}, {in_words(own[0].network.family)}"
        alt = f"leak against held-out accuracy for each defence, {name}: {', '.join(map(panel_title, own))}"
        shown.append((f"Leak against accuracy, {name}", alt, svg_uri(tradeoff_figure(own, width=_WIDTH * len(own)))))
    return Drawing("sweep.html.j2", shown)


def tradeoff_files(found: Sequence[Tradeoff]) -> Iterator[tuple[str, Draw]]:
    """Yield each panel as a drawing for files."""
    for place, one in enumerate(found, start=1):
        yield f"tradeoff-{place}-{network(one.network).lower()}", captioned(partial(_alone, one), panel_title(one))


def panel_title(one: Tradeoff) -> str:
    """Return what a panel is about: "ANN: MNIST, LeNet"."""
    return f"{network(one.network)}: {group_name(one.network, init=False)}"


def tradeoff_figure(found: Sequence[Tradeoff], *, width: float) -> Figure:
    """Return panels side by side, of this width in inches together; colours and markers mean the same in all."""
    up = "mean SSIM of the answers" if all(one.by_ssim for one in found) else "recovered victims, share"
    figure, parts = panels(width, _HEIGHT, *((f"held-out accuracy, %\n{panel_title(one)}", up) for one in found))
    names = dict.fromkeys(one.defence for board in found for one in board.settings if not one.undefended)
    looks = {name: (COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]) for place, name in enumerate(names)}
    for axes, one in zip(parts, found, strict=True):
        _draw(axes, one, looks)
    _add_legend(figure, parts)
    return figure


def _alone(one: Tradeoff, width: float) -> Figure:
    return tradeoff_figure([one], width=min(width, 1.4 * _WIDTH))


def _pictures(found: Iterable[Tradeoff]) -> list[list[Tradeoff]]:
    return list(grouped(found, lambda one: (one.network.dataset, one.network.family, one.network.init)).values())


def _draw(axes: Axes, board: Tradeoff, looks: dict[str, tuple[str, str]]) -> None:
    """Draw one network: what the controls score, the front, a curve for each defence, and the undefended point."""
    if board.band is not None:
        axes.axhspan(*board.band, color=MUTED, alpha=0.2, linewidth=0, zorder=0, label="controls, least to greatest")
    front = [(100 * one.accuracy, one.strongest.similarity) for one in board.front]
    across, up = zip(*front, strict=True)
    axes.plot(across, up, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), alpha=0.7, label=_FRONT, zorder=1)
    for name, own in grouped(board.settings, lambda one: one.defence).items():
        colour, marker = looks.get(name, (INK, "*"))
        label = verbatim(in_words(name)) if name in looks else _UNDEFENDED
        _draw_curve(axes, own, colour, marker, label)
    _write_epsilons(axes, board.settings)
    axes.set_xlim(-3, 103)
    low = min([one.strongest.similarity for one in board.settings] + ([board.band[0]] if board.band else []))
    axes.set_ylim(min(-0.03, low - 0.03), 1.06)


def _draw_curve(axes: Axes, own: Sequence[Setting], colour: str, marker: str, label: str) -> None:
    """Draw the settings of one defence with their intervals; a filled marker is on the front."""
    places = [(100 * one.accuracy, one.strongest.similarity) for one in own]
    for one, (across, up) in zip(own, places, strict=True):
        low, high = one.strongest.interval or (up, up)
        axes.plot([across, across], [low, high], color=colour, linewidth=0.7, alpha=0.45, zorder=2)
        axes.plot([100 * end for end in one.interval], [up, up], color=colour, linewidth=0.7, alpha=0.45, zorder=2)
        fill = colour if one.on_front else "none"
        size = 9 if one.undefended else 5.5
        axes.plot([across], [up], marker, color=colour, markersize=size, markerfacecolor=fill, zorder=4)
    axes.plot(*zip(*places, strict=True), color=colour, linewidth=0.9, alpha=0.7, zorder=3)
    axes.plot([], [], color=colour, marker=marker, markerfacecolor="none", linewidth=0.9, label=label)


def _write_epsilons(axes: Axes, settings: Iterable[Setting]) -> None:
    """Write the epsilon of each setting that claims one beside its point, above those that it would cover."""
    written: list[tuple[float, float]] = []
    for one in settings:
        if one.claim is not None and one.claim.epsilon is not None:
            across, up = 100 * one.accuracy + 1.5, one.strongest.similarity + 0.03
            while any(abs(across - x) < _LABEL_WIDTH and abs(up - y) < _LABEL_HEIGHT for x, y in written):
                up += 0.01
            note(axes, (across, up), f"\N{GREEK SMALL LETTER EPSILON} {digits(one.claim.epsilon)}")
            written.append((across, up))


def _add_legend(figure: Figure, parts: Sequence[Axes]) -> None:
    """Add one legend of all panels below them, for which the figure grows."""
    found = [axes.get_legend_handles_labels() for axes in parts]
    handles = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    columns = max(1, int(figure.get_figwidth() / _ENTRY))
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * -(-len(handles) // columns))
    look = {"frameon": False, "labelcolor": INK, "fontsize": FONT_SIZE, "columnspacing": 1.2, "handlelength": 2.0}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, **look)
