"""Pictures and figures of a report as data URIs, drawn without pyplot and so without a display.

A figure is an SVG whose ink follows the light or dark setting of the reader.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from PIL import Image
from torch import Tensor

PICTURE_SIDE = 84
"""About how many pixels wide a picture is shown; the factor is a whole number, so that its own pixels are seen."""

INK, MUTED, GOOD, BAD, THIRD = "#23272c", "#8a9097", "#2f6f9f", "#c07a2c", "#3d8a63"
_DARK = {INK: "#e3e5e8", GOOD: "#7fb2dc", BAD: "#e0a565", THIRD: "#86c9a4", MUTED: "#8a9097"}
_NAMES = {INK: "--ink", GOOD: "--good", BAD: "--bad", THIRD: "--third", MUTED: "--muted"}
COLOURS, MARKERS = (GOOD, BAD, THIRD, INK), ("o", "^", "s", "D", "v")
_JITTER = 0.16
_PATH = re.compile(r' d="[^"]*"')
MOST_POINTS = 80


class Point(NamedTuple):
    """A mean at one threshold, and its interval where there is one."""

    tau: float
    mean: float
    interval: tuple[float, float] | None


class Sweep(NamedTuple):
    """A line of the figure of thresholds: lines of one way share a colour, those of one attack a marker."""

    attack: str
    way: str
    points: Sequence[Point]


def picture_uri(picture: Tensor, *, low: float, high: float, side: int = PICTURE_SIDE) -> str:
    """Return a picture as a PNG data URI; see `enlarged`."""
    content = io.BytesIO()
    enlarged(picture, low=low, high=high, side=side).save(content, format="PNG", optimize=True)
    return data_uri("image/png", content.getvalue())


def enlarged(picture: Tensor, *, low: float, high: float, side: int) -> Image.Image:
    """Return a picture, enlarged by a whole factor without smoothing.

    Args:
        picture: (C, H, W); one channel is grey; two, the events "off" and "on", are blue and orange; three are red,
            green and blue; any other number is averaged to grey.
        low, high: the values shown black and white; beyond them is cut off, and what is not finite is black.
        side: about how many pixels wide.
    """
    if picture.shape[0] not in (1, 2, 3):
        picture = picture.mean(dim=0, keepdim=True)
    scaled = ((picture.double() - low) / (high - low)).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
    if len(scaled) == 2:
        off, on = scaled
        scaled = torch.stack([on, (off + on) / 2, off])
    pixels = (scaled * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, round(side / image.width))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def loss_figure(curves: Tensor, recognisable: Sequence[bool]) -> str:
    """Return matching loss against outer step, one line a victim, on a log scale, as an SVG data URI.

    Args:
        curves: (curves, steps), NaN after an attack's end.
        recognisable: colour of each curve.
    """
    figure, axes = _panel(3.5, 2.1)
    drawn = False
    for curve, success in zip(curves.double().numpy(), recognisable, strict=True):
        steps = _thinned(np.flatnonzero(np.isfinite(curve) & (curve > 0)))
        if len(steps):
            colour = GOOD if success else BAD
            axes.plot(
                steps, curve[steps], color=colour, alpha=0.75, linewidth=0.8, marker="." if len(steps) == 1 else ""
            )
            drawn = True
    if drawn:
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "no loss recorded", ha="center", va="center", color=INK, transform=axes.transAxes)
    axes.set_xlabel("outer step", color=INK)
    axes.set_ylabel("matching loss", color=INK)
    return svg_uri(figure)


def strip_figure(
    values: Mapping[str, Sequence[float]], *, threshold: float | None, measure: str = "SSIM", unit: str = "victim"
) -> str:
    """Return one line of dots for each name, a dot for each victim or other unit, as an SVG data URI.

    Args:
        values: {name: the measure of each}, top to bottom.
        threshold: where a dashed line marks a recognisable picture; None for no line, and an axis from 0.
        measure: what it is.
        unit: of what.
    """
    figure, axes = _panel(7.2, 0.55 + 0.3 * len(values))
    for row, (name, dots) in enumerate(values.items()):
        offsets = _JITTER * (np.arange(len(dots)) * 0.618 % 1.0 * 2.0 - 1.0)
        colour = MUTED if name.startswith("control") else GOOD
        axes.scatter(dots, row + offsets, s=9, color=colour, alpha=0.75, linewidths=0)
        centre = float(np.median(dots))
        axes.plot([centre, centre], [row - 0.3, row + 0.3], color=INK, linewidth=1.2)
    axes.set_yticks(range(len(values)), [verbatim(name) for name in values], color=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    if threshold is None:
        axes.set_xlim(left=0.0)
    else:
        axes.axvline(threshold, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        lowest = min((min(dots) for dots in values.values() if len(dots)), default=0.0)
        axes.set_xlim(min(-0.1, lowest - 0.03), 1.03)
    axes.set_xlabel(f"{measure} of each {unit}; the bar is the median", color=INK)
    axes.tick_params(axis="y", length=0)
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
    figure, (left, right) = panels(7.4, 3.3, 2)
    _draw_sweeps(left, [line._replace(points=[_percent(point) for point in line.points]) for line in asr])
    _draw_sweeps(right, l2)
    if not asr:
        left.text(0.5, 0.5, "no judge", ha="center", va="center", color=INK, transform=left.transAxes)
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
    told = [axes.get_legend_handles_labels() for axes in (right, left)]
    lines = {label: handle for pair in told for handle, label in zip(*pair, strict=True)}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    return svg_uri(figure)


def _draw_references(axes: Axes, guess: Sequence[Point], norm: float | None) -> None:
    """Draw the l2 of the guess, broad and behind the lines, which may lie on it, and of the empty recording."""
    if guess:
        taus, means = [point.tau for point in guess], [point.mean for point in guess]
        label = "guess, zero steps"
        axes.plot(taus, means, color=MUTED, linewidth=4.0, linestyle="--", alpha=0.5, label=label, zorder=1)
    if norm is not None:
        axes.axhline(norm, color=MUTED, linewidth=1.0, linestyle=":", label="empty recording")


def _draw_sweeps(axes: Axes, lines: Sequence[Sweep]) -> None:
    """Draw lines with their bands; points of several lines at one place stay visible by their markers."""
    ways = list(dict.fromkeys(line.way for line in lines))
    attacks = list(dict.fromkeys(line.attack for line in lines))
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
            label=verbatim(f"{line.attack}, {line.way}"),
        )  # fmt: skip


def _percent(point: Point) -> Point:
    """Return a share as a number out of 100."""
    bounds = None if point.interval is None else (100 * point.interval[0], 100 * point.interval[1])
    return Point(point.tau, 100 * point.mean, bounds)


def verbatim(name: str) -> str:
    """Return a name in which a dollar starts no formula, for a figure."""
    return name.replace("$", r"\$")


def _thinned(steps: np.ndarray) -> np.ndarray:
    """Return at most 80 of the steps, evenly spread, with the first and the last."""
    if len(steps) <= MOST_POINTS:
        return steps
    chosen: np.ndarray = steps[np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int)]
    return chosen


def _style() -> AbstractContextManager[None]:
    """Return the setting in which figures are made and saved, the same everywhere."""
    return mpl.rc_context(
        {
            "font.size": 8.0,
            "font.family": "DejaVu Sans",
            "axes.linewidth": 0.6,
            "svg.hashsalt": "spikeleak",
        }
    )


def _panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of one panel, in inches, with quiet axes."""
    figure, (axes,) = panels(width, height, 1)
    return figure, axes


def panels(width: float, height: float, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels side by side."""
    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        parts = [figure.add_subplot(1, count, index + 1) for index in range(count)]
    for axes in parts:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(MUTED)
        axes.tick_params(which="both", colors=MUTED, labelcolor=INK, width=0.6)
        axes.patch.set_alpha(0.0)
    return figure, parts


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG data URI; the same figure gives the same text."""
    content = io.StringIO()
    with _style():
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    text = _PATH.sub(_rounded, text[text.index("<svg") :])
    for colour, name in _NAMES.items():
        text = text.replace(colour, f"var({name}, {colour})")
    dark = ";".join(f"{_NAMES[colour]}:{value}" for colour, value in _DARK.items())
    start = text.index(">") + 1
    style = f"<style>@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    return data_uri("image/svg+xml", (text[:start] + style + text[start:]).encode())


def _rounded(path: re.Match[str]) -> str:
    """Return the coordinates of a path with two decimals: hundredths of a point are not seen."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path.group())


def data_uri(kind: str, content: bytes) -> str:
    """Return bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
