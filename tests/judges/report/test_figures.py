from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from judges.report.curves import Mark, Panel, Sweep, lines_figure
from judges.report.figures import Point, picture_uri, strip_figure

RATES = [Sweep("dlg", "in-optimisation", [Point(0.1, 0.2, (0.1, 0.3)), Point(0.5, 0.1, None)])]
FAR = [
    Sweep("dlg", "in-optimisation", [Point(0.1, 450.0, (440.0, 460.0)), Point(0.5, 42.0, (41.0, 43.0))]),
    Sweep("idlg $x$", "post-optimisation", [Point(0.1, 500.0, None)]),
]
GUESS = Sweep("guess, zero steps", "", [Point(0.1, 456.0, None), Point(0.5, 42.6, None)])


def sweep(asr: list[Sweep], l2: list[Sweep], *, chance: float | None = None, beside: bool = False) -> str:
    """Return success rates beside distances; `beside`: with the guess and the empty recording."""
    left = Panel(
        "tau", "ASR, %", asr, marks=[Mark(chance, "chance")] if chance else [], ticks=False, missing="no judge"
    )
    marks = [Mark(42.5, "empty recording")] if beside else []
    right = Panel("tau", "mean l2", l2, beneath=GUESS if beside else None, marks=marks, ticks=False, logarithmic=True)
    return lines_figure([left, right], width=3.7, height=2.9)


def svg_of(uri: str) -> str:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def labels(uri: str) -> list[str]:
    """Return the texts of a figure; matplotlib keeps each in a comment beside its glyphs."""
    return [part.partition("-->")[0].strip() for part in svg_of(uri).split("<!--")[1:]]


def test_a_sweep_shows_every_line_and_what_it_is_beside() -> None:
    found = labels(sweep(RATES, FAR, chance=9.0, beside=True))
    for name in ("dlg, in-optimisation", "idlg $x$, post-optimisation", "guess, zero steps", "empty recording",
                 "chance", "tau", "ASR, %", "mean l2"):  # fmt: skip
        assert found.count(name) >= 1, name
    assert found.count("dlg, in-optimisation") == 1  # though it stands in both panels


def test_what_is_not_known_is_not_drawn() -> None:
    found = labels(sweep([], FAR))
    assert "no judge" in found
    assert not {"guess, zero steps", "empty recording", "chance"} & set(found)


def test_a_sweep_is_the_same_again_and_refers_to_nothing_outside() -> None:
    first, second = (sweep(RATES, FAR, chance=9.0, beside=True) for _ in range(2))
    assert first == second
    svg = svg_of(first)
    assert "<script" not in svg
    assert all(part.startswith("#") for part in svg.split('href="')[1:])
    assert sweep(RATES, FAR, chance=20.0, beside=True) != first


def test_bands_and_a_distance_of_zero() -> None:
    bare = [line._replace(points=[point._replace(interval=None) for point in line.points]) for line in FAR]
    banded, plain = (svg_of(sweep([], lines)) for lines in (FAR, bare))
    assert banded.count("FillBetween") > plain.count("FillBetween")
    zero = [Sweep("dlg", "post-optimisation", [Point(0.1, 0.0, None), Point(0.5, 3.0, None)])]
    assert sweep([], zero)


def test_a_strip_of_distances_has_no_threshold() -> None:
    values = {"dlg": [40.0, 50.0]}
    assert "l2 of each victim; the bar is the median" in labels(strip_figure(values, threshold=None, measure="l2"))
    assert "SSIM of each victim; the bar is the median" in labels(strip_figure({"dlg": [0.4]}, threshold=0.5))


def test_off_is_blue_and_on_is_orange() -> None:
    off, on = torch.zeros(2, 1, 2), torch.zeros(2, 1, 2)
    off[0, 0, 0] = on[1, 0, 1] = 1.0
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(picture_uri(off + on, low=0, high=1).partition(",")[2])))
    )
    assert pixels[0, 0].tolist() == [0, 128, 255]
    assert pixels[0, -1].tolist() == [255, 128, 0]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_other_pictures_keep_their_colours(channels: int) -> None:
    content = base64.b64decode(picture_uri(torch.ones(channels, 4, 4), low=0, high=1).partition(",")[2])
    assert (np.asarray(Image.open(io.BytesIO(content))) == 255).all()
