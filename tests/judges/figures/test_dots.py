"""Rows of dots: what is longer than a figure shrinks, and is not cut."""

from __future__ import annotations

import pytest

from judges.figures.dots import Dots, dot_strips

LONG = "digits, spiking LeNet, uniform initialisation, drop (drop ratio=0.3)"


@pytest.mark.parametrize("width", [3.5, 7.0])
def test_headings_are_whole_and_within_the_figure(width: float) -> None:
    rows = [Dots("Inverting Gradients (steps=100)", [0.1, 0.6], (0.2, 0.4, 0.3)), Dots("iDLG", [0.9])]
    figure = dot_strips(
        {LONG: rows, "digits, LeNet": rows}, measure="SSIM", ends=(0.0, 1.0), threshold=0.5, width_inches=width
    )
    figure.canvas.draw()
    headings = figure.axes[0].texts
    assert [text.get_text() for text in headings] == [LONG, "digits, LeNet"]
    boxes = [text.get_window_extent().transformed(figure.transFigure.inverted()) for text in headings]
    assert all(box.x0 >= 0.0 and box.x1 <= 1.0 for box in boxes)
    assert headings[1].get_fontsize() == pytest.approx(8.5)
