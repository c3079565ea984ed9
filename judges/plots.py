"""Pictures and figures of a report as data URIs, drawn without pyplot and so without a display.

A figure is an SVG whose ink follows the light or dark setting of the reader.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

PICTURE_SIDE = 84
"""About how many pixels wide a picture is shown; the factor is a whole number, so that its own pixels are seen."""

INK, MUTED, GOOD, BAD = "#23272c", "#8a9097", "#2f6f9f", "#c07a2c"
_DARK = {INK: "#e3e5e8", GOOD: "#7fb2dc", BAD: "#e0a565", MUTED: "#8a9097"}
_NAMES = {INK: "--ink", GOOD: "--good", BAD: "--bad", MUTED: "--muted"}
_JITTER = 0.16
_PATH = re.compile(r' d="[^"]*"')
MOST_POINTS = 80


def picture_uri(picture: Tensor, *, low: float, high: float, side: int = PICTURE_SIDE) -> str:
    """Return a picture as a PNG data URI, enlarged by a whole factor without smoothing.

    Args:
        picture: (C, H, W); one channel is grey, three are red, green and blue, any other number is averaged to grey.
        low, high: the values shown black and white; beyond them is cut off, and what is not finite is black.
        side: about how many pixels wide.
    """
    if picture.shape[0] not in (1, 3):
        picture = picture.mean(dim=0, keepdim=True)
    scaled = ((picture.double() - low) / (high - low)).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
    pixels = (scaled * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, round(side / image.width))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True)
    return _data_uri("image/png", content.getvalue())


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
    return _svg_uri(figure)


def strip_figure(values: Mapping[str, Sequence[float]], *, threshold: float) -> str:
    """Return one line of dots for each name, a dot for each victim's SSIM, as an SVG data URI.

    Args:
        values: {name: SSIM of each victim}, top to bottom.
        threshold: where a dashed line marks a recognisable picture.
    """
    figure, axes = _panel(7.2, 0.55 + 0.3 * len(values))
    for row, (name, dots) in enumerate(values.items()):
        offsets = _JITTER * (np.arange(len(dots)) * 0.618 % 1.0 * 2.0 - 1.0)
        colour = MUTED if name.startswith("control") else GOOD
        axes.scatter(dots, row + offsets, s=9, color=colour, alpha=0.75, linewidths=0)
        centre = float(np.median(dots))
        axes.plot([centre, centre], [row - 0.3, row + 0.3], color=INK, linewidth=1.2)
    axes.axvline(threshold, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(values)), [name.replace("$", r"\$") for name in values], color=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    lowest = min((min(dots) for dots in values.values() if len(dots)), default=0.0)
    axes.set_xlim(min(-0.1, lowest - 0.03), 1.03)
    axes.set_xlabel("SSIM of each victim; the bar is the median", color=INK)
    axes.tick_params(axis="y", length=0)
    return _svg_uri(figure)


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
    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, width=0.6)
    axes.patch.set_alpha(0.0)
    return figure, axes


def _svg_uri(figure: Figure) -> str:
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
    return _data_uri("image/svg+xml", (text[:start] + style + text[start:]).encode())


def _rounded(path: re.Match[str]) -> str:
    """Return the coordinates of a path with two decimals: hundredths of a point are not seen."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path.group())


def _data_uri(kind: str, content: bytes) -> str:
    """Return bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
