"""Pictures and figures of a report as data URIs, drawn without pyplot and so without a display.

A figure is an SVG whose ink follows the light or dark setting of the reader.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as MplPath
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Transform
from PIL import Image
from torch import Tensor

from judges.figures.drawing import BAD, FONT_SIZE, GOOD, INK, MUTED, THIRD, pixels, style, verbatim

PICTURE_SIDE = 84
"""About how wide a picture is shown, in pixels; it is enlarged by a whole factor, so that its own pixels are seen."""

_DARK = {INK: "#e3e5e8", GOOD: "#7fb2dc", BAD: "#e0a565", THIRD: "#86c9a4", MUTED: "#8a9097"}
_NAMES = {INK: "--ink", GOOD: "--good", BAD: "--bad", THIRD: "--third", MUTED: "--muted"}
_JITTER = 0.16
_PATH, _HUNDREDTHS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
"""Coordinates of paths are cut to hundredths of a point: smaller steps are not seen."""

MOST_POINTS = 80
MOST_DOTS = 400  # how many dots a row of the strip shows at most
_MARGINS = 0.6, 0.08, 0.42, 0.08

Margins = tuple[float, float, float, float]
"""Left, right, bottom, top, in inches."""


class Point(NamedTuple):
    """A mean at one place of the axis, such as a threshold, with its interval where there is one."""

    tau: float
    mean: float
    interval: tuple[float, float] | None


def picture_uri(picture: Tensor, *, low: float, high: float, side: int = PICTURE_SIDE) -> str:
    """Return a picture as a PNG data URI; see `enlarged`."""
    content = io.BytesIO()
    enlarged(picture, low=low, high=high, side=side).save(content, format="PNG", optimize=True)
    return data_uri("image/png", content.getvalue())


def enlarged(picture: Tensor, *, low: float, high: float, side: int) -> Image.Image:
    """Return a picture, enlarged by a whole factor without smoothing.

    Args:
        picture, low, high: as `judges.figures.drawing.pixels` takes them.
        side: about how wide, in pixels.
    """
    image = Image.fromarray(pixels(picture, low=low, high=high))
    factor = max(1, round(side / image.width))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def loss_figure(curves: Tensor, recognisable: Sequence[bool]) -> str:
    """Return matching loss against outer step, one line a victim, on a log scale, as an SVG data URI.

    Args:
        curves: (curves, steps), NaN after an attack's end.
        recognisable: colour of each curve.
    """
    figure, (axes,) = panels(3.5, 2.1, ("outer step", "matching loss"), margins=_MARGINS)
    for curve, success in zip(curves.double().numpy(), recognisable, strict=True):
        steps = thinned(np.flatnonzero(np.isfinite(curve) & (curve > 0)))
        if len(steps):
            colour, marker = GOOD if success else BAD, "." if len(steps) == 1 else ""
            axes.plot(steps, curve[steps], color=colour, alpha=0.75, linewidth=0.8, marker=marker)
    if axes.lines:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_power))
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter("{x:.3g}" if high < 10 * low else NullFormatter())
    else:
        note(axes, (0.5, 0.5), "no loss recorded", ha="center", by=axes.transAxes)
    return svg_uri(figure)


def strip_figure(
    values: Mapping[str, Sequence[float]],
    *,
    controls: Collection[str] = (),
    threshold: float | None,
    measure: str = "SSIM",
    unit: str = "victim",
) -> str:
    """Return a row of dots for each name, one dot for each victim or other unit, as an SVG data URI.

    A row is a single path, so that a page of 10,000 victims opens at once. Of more than 400 values, 400 evenly spaced
    ranks are shown, the least and the greatest value among them. A dashed line at the threshold marks a recognisable
    picture; without a threshold the axis starts at 0. Rows of controls are grey.
    """
    across = f"{measure} of each {unit}; the bar is the median"
    figure, (axes,) = panels(7.2, 0.55 + 0.3 * len(values), (across, ""))
    for row, (name, dots) in enumerate(values.items()):
        places = np.asarray(dots, dtype=np.float64)
        places = thinned(np.sort(places), MOST_DOTS) if len(places) > MOST_DOTS else places
        offsets = _JITTER * (np.arange(len(places)) * 0.618 % 1.0 * 2.0 - 1.0)
        colour = MUTED if name in controls else GOOD
        axes.add_patch(_dots(places, row + offsets, colour))
        axes.plot([float(np.median(dots))] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.2)
    axes.autoscale_view(scaley=False)
    axes.set_yticks(range(len(values)), [verbatim(name) for name in values], color=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    if threshold is None:
        axes.set_xlim(left=0.0)
    else:
        axes.axvline(threshold, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        lowest = min((min(dots) for dots in values.values() if len(dots)), default=0.0)
        axes.set_xlim(min(-0.1, lowest - 0.03), 1.03)
    axes.tick_params(axis="y", length=0)
    return svg_uri(figure)


def _dots(across: np.ndarray, down: np.ndarray, colour: str) -> PathPatch:
    """Return dots as one path: strokes without length that have round ends."""
    ends = np.repeat(np.stack([across, down], axis=1), 2, axis=0)
    codes = np.tile([MplPath.MOVETO, MplPath.LINETO], len(across))
    stroke = {"linewidth": 3.0, "capstyle": "round", "alpha": 0.75}
    return PathPatch(MplPath(ends, codes), fill=False, edgecolor=colour, **stroke)


def thinned(places: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Return at most `most` of the places, evenly spread, the first and the last among them."""
    if len(places) <= most:
        return places
    chosen: np.ndarray = places[np.linspace(0, len(places) - 1, most).round().astype(int)]
    return chosen


def _power(value: float, _place: int | None = None) -> str:
    """Return a power of ten as text: setting it as a formula takes as long as drawing the rest of the figure."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def panels(
    width: float, height: float, *labels: tuple[str, str], margins: Margins | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure, its size in inches, of panels side by side: one for each pair of names of the two axes.

    The margins, in inches, are found by measuring all texts, which takes longer than drawing them, unless they are
    given.
    """
    with style():
        figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
        if margins:
            left, right, bottom, top = margins
            figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        parts = [figure.add_subplot(1, len(labels), index + 1) for index in range(len(labels))]
    for axes, (across, up) in zip(parts, labels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.tick_params(which="both", colors=MUTED, labelcolor=INK, width=0.6)
        axes.patch.set_alpha(0.0)
        axes.set_xlabel(across, color=INK)
        axes.set_ylabel(up, color=INK)
    return figure, parts


def note(
    axes: Axes, at: tuple[float, float], text: str, *, ha: str = "left", va: str = "center", by: Transform | None = None
) -> None:
    """Write a text into a panel at (across, up); `by` says what these are coordinates of, if not of the data."""
    axes.text(*at, text, color=INK, fontsize=FONT_SIZE, ha=ha, va=va, transform=by or axes.transData)


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG data URI; the same figure always gives the same text."""
    content = io.StringIO()
    figure.patch.set(facecolor="none", edgecolor="none")
    with style():  # `savefig` would write the same text, but draw everything twice
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    text = content.getvalue()
    text = _PATH.sub(lambda path: _HUNDREDTHS.sub(r"\1", path[0]), text[text.index("<svg") :])
    return inked(text)


def inked(svg: str) -> str:
    """Return an SVG as a data URI; where it has our colours, they follow the light or dark setting of the reader."""
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, f"var({name}, {colour})")
    dark = ";".join(f"{_NAMES[colour]}:{value}" for colour, value in _DARK.items())
    start = svg.index(">") + 1
    dark_ink = f"<style>@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    return data_uri("image/svg+xml", (svg[:start] + dark_ink + svg[start:]).encode())


def data_uri(kind: str, content: bytes) -> str:
    """Return bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
