"""Figures of a report on model inversions: against the rounds of a federation, and spikes over time."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image, ImageDraw
from torch import Tensor

from judges.report.figures import (
    COLOURS,
    GOOD,
    INK,
    MARKERS,
    MUTED,
    Point,
    data_uri,
    enlarged,
    panels,
    svg_uri,
    verbatim,
)

GIF_SIDE = 112
FRAME_MS = 125
MOST_TRACES = 256
"""Pixels that a raster plot shows at most."""

_BAR, _SEEN = 3, (47, 111, 159)


class Rounds(NamedTuple):
    """One panel of the figure of a federation. Points are (round, share in [0, 1], interval).

    Attributes:
        title: the network.
        tested: test accuracy of the target.
        accuracy, confidence: of each attack: attack accuracy, and the judge's mean confidence.
    """

    title: str
    tested: Sequence[Point]
    accuracy: Mapping[str, Sequence[Point]]
    confidence: Mapping[str, Sequence[Point]]


def rounds_figure(shown: Sequence[Rounds]) -> str:
    """Return attack accuracy and judge's confidence against the round, a panel each network, as an SVG data URI."""
    figure, parts = panels(3.7 * len(shown), 3.2, len(shown))
    attacks = list(dict.fromkeys(name for panel in shown for name in panel.accuracy))
    for axes, panel in zip(parts, shown, strict=True):
        _draw_rounds(axes, panel, attacks)
    parts[0].set_ylabel("%", color=INK)
    told = [axes.get_legend_handles_labels() for axes in parts]
    lines = {label: handle for pair in told for handle, label in zip(*pair, strict=True)}
    figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=min(2, len(shown)),
        frameon=False,
        labelcolor=INK,
        fontsize=8,
    )
    return svg_uri(figure)


def raster_figure(spikes: Tensor) -> str:
    """Return a raster plot, pixel index against time step, as an SVG data URI.

    Args:
        spikes: (T, C, H, W) of 0 and 1; of more than 256 pixels as many are shown, spread evenly.
    """
    traces = spikes.flatten(1).numpy()
    steps, pixels = traces.shape
    shown = np.arange(min(pixels, MOST_TRACES)) * pixels // min(pixels, MOST_TRACES)
    times, places = np.nonzero(traces[:, shown])
    figure, (axes,) = panels(3.7, 2.6, 1)
    gap = np.full(len(times), np.nan)  # ends a stroke, so that all of them are one path
    across = np.stack([times - 0.4, times + 0.4, gap], axis=1).ravel()
    axes.plot(across, np.repeat(shown[places], 3), color=GOOD, linewidth=0.8, solid_capstyle="butt")
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(pixels, -1)
    axes.set_xlabel("time step", color=INK)
    axes.set_ylabel("pixel index", color=INK)
    return svg_uri(figure)


def gif_uri(spikes: Tensor) -> str:
    """Return spikes as an animated GIF data URI, 8 frames a second, for ever; a bar below shows the time.

    Args:
        spikes: (T, C, H, W) of 0 and 1, at least one step.
    """
    steps, width = len(spikes), spikes.shape[-1]
    side = math.ceil(GIF_SIDE / width) * width
    frames = [_frame(frame, (number + 1) / steps, side) for number, frame in enumerate(spikes)]
    content = io.BytesIO()
    frames[0].save(content, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return data_uri("image/gif", content.getvalue())


def _frame(spikes: Tensor, passed: float, side: int) -> Image.Image:
    """Return one step with the bar of the time that has passed; no two steps are the same picture."""
    picture = enlarged(spikes.to(torch.float32), low=0.0, high=1.0, side=side).convert("RGB")
    framed = Image.new("RGB", (picture.width, picture.height + 2 * _BAR), (128, 128, 128))
    framed.paste(picture)
    top = picture.height + _BAR
    ImageDraw.Draw(framed).rectangle((0, top, max(0, round(passed * picture.width) - 1), top + _BAR), fill=_SEEN)
    return framed


def _draw_rounds(axes: Axes, panel: Rounds, attacks: Sequence[str]) -> None:
    """Draw one panel: an attack has a colour, what is measured of it a stroke."""
    rounds = [point.tau for point in panel.tested]
    axes.plot(
        rounds, [100 * point.mean for point in panel.tested], color=MUTED, linewidth=3.0, alpha=0.6, zorder=1,
        label="target's test accuracy",
    )  # fmt: skip
    for name, points in panel.accuracy.items():
        place = attacks.index(name)
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        banded = [(point.tau, 100 * point.interval[0], 100 * point.interval[1]) for point in points if point.interval]
        if banded:
            rounds_of, low, high = zip(*banded, strict=True)
            axes.fill_between(rounds_of, low, high, color=colour, alpha=0.12, linewidth=0)
        for label, line, stroke in (
            ("attack accuracy", points, "-"),
            ("judge's confidence", panel.confidence.get(name, ()), "--"),
        ):
            axes.plot(
                [point.tau for point in line], [100 * point.mean for point in line], color=colour, marker=marker,
                markerfacecolor="none", linestyle=stroke, linewidth=1.1, markersize=4,
                label=verbatim(f"{name}, {label}"),
            )  # fmt: skip
    axes.set_ylim(-2, 102)
    axes.set_xticks(sorted(set(rounds)) if len(set(rounds)) <= 12 else axes.get_xticks())
    axes.set_title(verbatim(panel.title), color=INK, fontsize=8.5, loc="left")
    axes.set_xlabel("round", color=INK)
