"""Figures of how much leaks: what stands in them, and that 10,000 victims are a line and not 10,000 elements."""

from __future__ import annotations

import warnings

import pytest

from judges.figures.drawing import GOOD, LONGEST_NAME, verbatim
from judges.report.curves import (
    Mark,
    Panel,
    Rates,
    Sweep,
    firing_figure,
    lines_drawing,
    lines_figure,
)
from judges.report.figures import Point, strip_figure
from tests.judges.report.test_figures import labels, svg_of

MANY = [((index * 0.618) % 1.0) for index in range(10_000)]


def test_many_victims_are_few_elements() -> None:
    svg = svg_of(strip_figure({"a": MANY, "control: b": MANY}, threshold=0.5))
    assert svg.count("<path") + svg.count("<use") < 250
    assert len(svg) < 60_000


def test_a_control_is_grey_whatever_its_name() -> None:
    named_like_one, control = (
        svg_of(strip_figure({"control: a": [0.2]}, controls=controls, threshold=None))
        for controls in ((), {"control: a"})
    )
    assert GOOD in named_like_one
    assert GOOD not in control


def test_a_thinned_strip_keeps_the_ends() -> None:
    """A value far from the others moves the axis, and so every dot."""
    assert strip_figure({"a": MANY}, threshold=0.5) != strip_figure({"a": [*MANY, -0.9]}, threshold=0.5)
    assert "\N{MINUS SIGN}0.75" in labels(strip_figure({"a": [*MANY, -0.9]}, threshold=0.5))


LINES = [
    Sweep("dlg", "spiking_lenet", [Point(1, 0.7, (0.6, 0.8)), Point(25, 0.4, (0.3, 0.5))]),
    Sweep("idlg", "spiking_lenet", [Point(1, 0.5, None), Point(25, 0.2, None)]),
]


def drawn(panel: Panel) -> str:
    return lines_figure([panel], width=3.5, height=2.2)


def test_lines_of_many_networks_or_attacks_look_unlike() -> None:
    """Eight networks and seven attacks, more than there are colours."""
    points = [Point(1, 0.5, None), Point(2, 0.6, None)]
    for names in ([("dlg", str(one)) for one in range(8)], [(str(one), "lenet") for one in range(7)]):
        lines = [Sweep(*name, points) for name in names]
        (axes,) = lines_drawing([Panel("steps", "SSIM", lines)], width=3.5, height=2.2).axes
        looks = {(one.get_color(), one.get_marker(), one.get_linestyle()) for one in axes.get_lines()}
        assert len(looks) == len(names)


def test_a_logarithmic_axis_has_all_of_a_line_in_view() -> None:
    far = Sweep("dlg", "", [Point(1, 10.0, None), Point(2, 10_000.0, None)])
    (axes,) = lines_drawing([Panel("tau", "l2", [far], logarithmic=True)], width=3.5, height=2.2).axes
    low, high = axes.get_ylim()
    assert 1.0 < low < 10.0
    assert 10_000.0 < high < 100_000.0


def test_a_trend_has_its_lines_its_reference_and_what_does_not_vary() -> None:
    level = [Sweep("dlg", "lenet", [Point(0, 0.9, (0.8, 1.0))])]
    found = labels(drawn(Panel("time steps T", "mean SSIM", LINES, level, marks=[Mark(0.4, "control: black")])))
    for name in (
        "dlg, spiking_lenet",
        "idlg, spiking_lenet",
        "dlg, lenet",
        "control: black",
        "time steps T",
        "mean SSIM",
    ):
        assert found.count(name) == 1, name
    assert {"1", "25"} <= set(found)
    bare = labels(drawn(Panel("round", "ASR, %", LINES)))
    assert not {"control: black", "dlg, lenet"} & set(bare)


def test_a_line_of_one_network_is_named_after_its_attack() -> None:
    assert [Sweep("dlg", "", []).name, Sweep("dlg", "lenet", []).name] == ["dlg", "dlg, lenet"]


def test_the_intervals_of_a_trend_are_bands() -> None:
    bare = [line._replace(points=[point._replace(interval=None) for point in line.points]) for line in LINES]
    banded, plain = (svg_of(drawn(Panel("T", "SSIM", own))) for own in (LINES, bare))
    assert (banded.count("FillBetween"), plain.count("FillBetween")) == (1, 0)


def test_firing_rates_say_each_layer_and_its_rate() -> None:
    found = labels(firing_figure({"conv1": Rates(0.299, 0.5), "conv2": Rates(0.0, 1.0)}))
    for name in ("conv1", "conv2", "0.30", "0", "spikes per neuron and time step", "share of silent neurons"):
        assert name in found
    assert firing_figure({"a": Rates(0.1, 0.2)}) != firing_figure({"a": Rates(0.1, 0.3)})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$x$", r"\$x\$"),
        ("_hidden", "\N{NO-BREAK SPACE}_hidden"),
        ("a\nb\x00", "a b\N{REPLACEMENT CHARACTER}"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}abc", "abc"),
        ("\N{ROLLING ON THE FLOOR LAUGHING}", "\N{REPLACEMENT CHARACTER}"),
        ("</svg><script>", "</svg><script>"),
    ],
)
def test_names_in_figures(name: str, shown: str) -> None:
    assert verbatim(name) == shown
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of signs that the font does not have, and of text that leaves no room
        svg = svg_of(strip_figure({name: [0.3]}, threshold=0.5))
    assert "<script" not in svg


def test_a_long_name_keeps_both_ends() -> None:
    name = verbatim("start" + 300 * "W" + "end")
    assert len(name) == LONGEST_NAME
    assert name.startswith("start")
    assert name.endswith("end")
    assert strip_figure({"W" * 300: [0.1]}, threshold=0.5)
