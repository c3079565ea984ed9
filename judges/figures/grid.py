"""Rows of pictures under headings, as the papers on leakage print them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from judges.figures.drawing import FONT_SIZE, INK, MUTED, Drawing, pixels, style, verbatim

Row = Sequence[Tensor | None]
"""Pictures (C, H, W) from left to right; None leaves a gap."""

_INCH = 72.0  # points
_LINE = 1.45 * FONT_SIZE / _INCH  # height of a line of text in inches
_GAP = 0.05  # between pictures, in inches
_MOST_LEFT = 0.38  # of the width, for the names of rows; longer ones go on in a further line
_SMALLEST = 4.0  # points; captions and headings shrink before they touch each other


def picture_grid(
    rows: Sequence[Row],
    *,
    names: Sequence[str],
    columns: Sequence[str],
    width_inches: float,
    low: float = 0.0,
    high: float = 1.0,
    captions: Sequence[Sequence[str]] = (),
) -> Figure:
    """Return a figure of rows of pictures, every picture of the same size, which needs no display.

    It draws what it is given. Whether pictures of real people may be shown is for the caller to ask, of
    `judges.runs.manifest.without_people`.

    Args:
        rows: pictures (C, H, W) of each row, one channel for grey, two for events "off" and "on", three for colours;
            None where there is none. A row may be shorter than the longest.
        names: one for each row, printed to its left; may be "", or of several lines. Long ones are broken.
        columns: a heading for each column; () for none.
        width_inches: width of the figure; its height follows from the shape of the pictures.
        low, high: the values shown black and white, of all pictures.
        captions: for each row a line under each of its pictures, such as an SSIM; () for none.

    Raises:
        ValueError: there is no row or no picture, or rows do not fit names, columns or captions.
    """
    across = _columns_of(rows, names, columns, captions)
    shape = next((picture.shape for row in rows for picture in row if picture is not None), None)
    if shape is None:
        raise ValueError("expected at least one picture, got none")
    with style():
        figure = Drawing(width_inches, 1.0)
        names = [_broken(figure, name, _MOST_LEFT * width_inches) for name in names]
        left = max(_width(figure, name) for name in names)
        left += 3 * _GAP if left else 0.0
        side = max((width_inches - left - across * _GAP) / across, 0.1)
        tall = side * shape[1] / shape[2]
        top = (_LINE if any(columns) else 0.0) + _GAP
        beside = max(len(name.splitlines()) for name in names) * _LINE
        step = max(tall + (_LINE if captions else 0.0), beside) + _GAP
        size = _fitting(figure, [*columns, *(text for line in captions for text in line)], side + _GAP / 2)
        height = top + len(rows) * step + _GAP
        figure.set_size_inches(width_inches, height)
        for number, row in enumerate(rows):
            base = height - top - number * step - max(tall, (beside + tall) / 2)
            middle = (left - 2 * _GAP) / width_inches, (base + tall / 2) / height
            figure.text(*middle, _lines(names[number]), color=INK, ha="right", va="center")
            for place, picture in enumerate(row):
                at = (left + place * (side + _GAP)) / width_inches, base / height
                axes = figure.add_axes((*at, side / width_inches, tall / height))
                _draw(axes, picture, low, high)
                if not number and columns:
                    axes.set_title(verbatim(columns[place]), color=INK, fontsize=size, pad=3.0)
                if captions:
                    axes.set_xlabel(verbatim(captions[number][place]), color=MUTED, fontsize=size, labelpad=2.0)
    return figure


def _columns_of(
    rows: Sequence[Row], names: Sequence[str], columns: Sequence[str], captions: Sequence[Sequence[str]]
) -> int:
    """Return the number of columns; a ValueError if the parts of a grid do not fit."""
    across = max((len(row) for row in rows), default=0)
    if not across or len(names) != len(rows):
        raise ValueError(f"expected a name for each row of at least one picture, got {len(names)} for {len(rows)}")
    if columns and len(columns) != across:
        raise ValueError(f"expected {across} headings, one for each column, got {len(columns)}")
    if captions and [len(line) for line in captions] != [len(row) for row in rows]:
        raise ValueError("expected a caption for each picture of each row")
    return across


def _draw(axes: Axes, picture: Tensor | None, low: float, high: float) -> None:
    """Draw a picture with its own pixels, nothing smoothed; an empty place stays empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.patch.set_alpha(0.0)
    if picture is not None:
        axes.imshow(
            pixels(picture, low=low, high=high), cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto"
        )


def _broken(figure: Figure, name: str, most: float) -> str:
    """Return a name with further breaks between its words, so that no line is wider than `most` inches if it can be."""
    lines: list[str] = []
    for line in name.splitlines():
        words = line.split(" ")
        lines.append(words[0])
        for word in words[1:]:
            longer = f"{lines[-1]} {word}"
            if _width(figure, longer) > most:
                lines.append(word)
            else:
                lines[-1] = longer
    return "\n".join(lines)


def _fitting(figure: Figure, texts: Sequence[str], most: float) -> float:
    """Return the size in points at which no text is wider than `most` inches, from the smallest to the usual one."""
    widest = max((_width(figure, text) for text in texts), default=0.0)
    return FONT_SIZE if widest <= most else max(_SMALLEST, FONT_SIZE * most / widest)


def _lines(name: str) -> str:
    return "\n".join(map(verbatim, name.splitlines()))


def _width(figure: Figure, name: str) -> float:
    """Return how wide a name is, in inches."""
    text: Text = figure.text(0.0, 0.0, _lines(name))
    found = text.get_window_extent().width / figure.dpi if name else 0.0
    text.remove()
    return float(found)
