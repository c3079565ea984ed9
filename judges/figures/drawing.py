"""What all figures share: colours, the font, names as a figure can show them, and inputs as pixels."""

from __future__ import annotations

import functools
import io
import unicodedata
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from torch import Tensor

INK, MUTED, GOOD, BAD, THIRD = "#23272c", "#8a9097", "#2f6f9f", "#c07a2c", "#3d8a63"
COLOURS, MARKERS, STROKES = (GOOD, BAD, THIRD, INK), ("o", "^", "s", "D", "v", "P", "X"), ("-", "--", "-.", ":")
FONT_SIZE = 8.5  # in points; 11 pixels on a screen, where a figure is shown at its own size
LONGEST_NAME = 48  # how many characters of a name a figure shows at most

_FONT = "DejaVu Sans"
_DOTS = 110  # per inch, in a notebook


class Drawing(Figure):
    """A figure with a canvas that needs no display, and which a notebook shows without pyplot."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height))
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        """Return the figure as a notebook shows it."""
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=_DOTS)
        return content.getvalue()


def style() -> AbstractContextManager[None]:
    """Return the settings under which every figure is made and saved."""
    return mpl.rc_context(
        {"font.size": FONT_SIZE, "font.family": _FONT, "axes.linewidth": 0.6, "svg.hashsalt": "spikeleak"}
    )


def verbatim(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as a figure can show it: not too long, all characters in the font, and no dollar starts a formula.

    Characters that set the direction of writing are left out: a figure is written from left to right.
    """
    plain = "".join(sign for sign in " ".join(name.split()) if unicodedata.category(sign) != "Cf")
    if len(plain) > longest:
        kept = longest - 1
        plain = f"{plain[: kept // 2]}\N{HORIZONTAL ELLIPSIS}{plain[len(plain) - (kept - kept // 2) :]}"
    known = _signs()
    shown = "".join(sign if ord(sign) in known else "\N{REPLACEMENT CHARACTER}" for sign in plain)
    return ("\N{NO-BREAK SPACE}" if shown.startswith("_") else "") + shown.replace("$", r"\$")  # legends skip "_"


@functools.cache
def _signs() -> frozenset[int]:
    """Return the code points that the font of the figures can draw."""
    return frozenset(get_font(fontManager.findfont(_FONT)).get_charmap())


def pixels(picture: Tensor, *, low: float, high: float) -> np.ndarray:
    """Return a picture as pixels, uint8: (H, W) of grey, or (H, W, 3) of colours.

    Args:
        picture: (C, H, W); one channel is grey; two, the events "off" and "on", are blue and orange; three are red,
            green and blue; any other number is averaged to grey.
        low, high: the values shown black and white; values beyond are clamped, and what is not finite is black.
    """
    if picture.shape[0] not in (1, 2, 3):
        picture = picture.mean(dim=0, keepdim=True)
    scaled = ((picture.double() - low) / (high - low)).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
    if len(scaled) == 2:
        off, on = scaled
        scaled = torch.stack([on, (off + on) / 2, off])
    found: np.ndarray = (scaled * 255.0).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return found[:, :, 0] if found.shape[2] == 1 else found
