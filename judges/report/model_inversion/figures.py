"""Figures of spikes over time."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from judges.figures.drawing import GOOD
from judges.report.figures import data_uri, enlarged, panels, svg_uri

GIF_SIDE = 112
FRAME_MS = 125
MOST_TRACES = 256  # how many pixels a raster plot shows at most
_BAR, _SEEN = 3, (47, 111, 159)


def raster_figure(spikes: Tensor) -> str:
    """Return a raster plot, pixel index against time step, as an SVG data URI.

    Args:
        spikes: (T, C, H, W) of 0 and 1; of more than 256 pixels, 256 evenly spread ones are shown.
    """
    traces = spikes.flatten(1).numpy()
    steps, pixels = traces.shape
    shown = np.arange(min(pixels, MOST_TRACES)) * pixels // min(pixels, MOST_TRACES)
    times, places = np.nonzero(traces[:, shown])
    figure, (axes,) = panels(3.7, 2.6, ("time step", "pixel index"))
    gap = np.full(len(times), np.nan)  # ends a stroke, so that all strokes are one path
    across = np.stack([times - 0.4, times + 0.4, gap], axis=1).ravel()
    axes.plot(across, np.repeat(shown[places], 3), color=GOOD, linewidth=0.8, solid_capstyle="butt")
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(pixels, -1)
    return svg_uri(figure)


def gif_uri(spikes: Tensor) -> str:
    """Return spikes as an animated GIF data URI: 8 frames a second, repeated for ever; a bar below shows the time.

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
    """Return one step above the bar of the time that has passed, so that no two steps are the same picture."""
    picture = enlarged(spikes.to(torch.float32), low=0.0, high=1.0, side=side).convert("RGB")
    framed = Image.new("RGB", (picture.width, picture.height + 2 * _BAR), (128, 128, 128))
    framed.paste(picture)
    top = picture.height + _BAR
    ImageDraw.Draw(framed).rectangle((0, top, max(0, round(passed * picture.width) - 1), top + _BAR), fill=_SEEN)
    return framed
