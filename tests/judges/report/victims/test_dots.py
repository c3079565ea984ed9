"""The strips of every victim: what stands in them, and that 10,000 victims are a line and not 10,000 elements."""

from __future__ import annotations

import re
from collections.abc import Callable

from judges.figures.drawing import GOOD, MUTED
from judges.report.victims.dots import L2, SSIM, TOKENS, strips
from judges.report.victims.sketches import Axis, Band, curves, scale, strip
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise
from tests.judges.report.gradient_inversion.test_trends import many
from tests.judges.report.test_figures import svg_of
from tests.judges.spike_rows import spike_rows

Row = Callable[..., Score]
AXIS = Axis(0.0, 1.0, 0.5)
MANY = [((index * 0.618) % 1.0) for index in range(10_000)]


def dots_of(uri: str) -> list[float]:
    """Return where the dots of a strip stand, from the left."""
    return [float(at) for at in re.findall(r"M([\d.]+) [\d.]+h0", svg_of(uri))]


def test_a_dot_stands_where_its_value_is() -> None:
    assert dots_of(strip([0.0, 0.5, 1.0], AXIS, None)) == [5.0, 210.0, 415.0]
    assert dots_of(strip([-3.0, 7.0], AXIS, None)) == [5.0, 415.0]  # nothing leaves the strip


def test_the_band_goes_from_the_least_to_the_greatest_control() -> None:
    svg = svg_of(strip([0.9], AXIS, Band(0.25, 0.75, 0.5)))
    assert '<rect x="107.5" y="1" width="205.0"' in svg
    assert "<rect" not in svg_of(strip([0.9], AXIS, None))
    assert GOOD in svg
    assert MUTED in svg


def test_many_victims_are_few_elements_and_the_ends_are_kept() -> None:
    uri = strip([*MANY, -0.0], AXIS, Band(0.1, 0.2, 0.15))
    assert len(dots_of(uri)) == 400
    assert (min(dots_of(uri)), max(dots_of(uri))) == (5.0, 414.2)  # of 0 and 0.998
    assert svg_of(uri).count("<path") < 8
    assert strip([float("inf"), float("nan")], AXIS, None)


def test_the_scale_names_the_ends_and_the_threshold() -> None:
    assert re.findall(r">([\d.]+)</text>", svg_of(scale(AXIS))) == ["0", "0.5", "1"]
    assert re.findall(r">([\d.]+)</text>", svg_of(scale(Axis(0.0, 42.0)))) == ["0", "21", "42"]


def test_curves_have_a_colour_each_and_leave_out_what_is_no_loss() -> None:
    svg = svg_of(curves([[100.0, 1.0, 0.01], [10.0, float("nan"), 0.0]]))
    assert svg.count('stroke-width="1.6"') == 1
    assert svg.count("h0") == 1  # a curve of a single point is a dot
    assert {"100", "0.01", "step 0", "2"} <= set(re.findall(r">([^<>]+)</text>", svg))
    assert curves([[0.0, float("nan")]]) == ""


def test_each_cell_stands_over_the_controls_of_its_own_victims(row: Row) -> None:
    rows = many(row, [0.2, 0.9], attack="dlg", stop_reason="diverged") + many(row, [0.8, 0.9], attack="idlg")
    rows += many(row, [0.1, 0.5], control="black") + many(row, [0.3, 0.4], control="mean image")
    (found,) = strips(summarise(rows), rows)
    assert (found.measure, found.axis, found.more) == (SSIM, Axis(0.0, 1.0, 0.5), 0)
    ((name, lines),) = found.groups.items()
    assert name == "toy, LeNet, uniform initialisation"
    assert [(line.name, list(line.values)) for line in lines] == [("DLG", [0.2, 0.9]), ("iDLG", [0.8, 0.9])]
    assert all(line.band == Band(0.3, 0.5, 0.4) for line in lines)  # the best of each victim: 0.3 and 0.5
    ((_, drawn),) = found.rows
    assert [line[2:] for line in drawn] == [("1 of 2", "0.55"), ("2 of 2", "0.85")]


def test_a_swapped_answer_is_a_control_of_its_own_attack_only(row: Row) -> None:
    rows = many(row, [0.5], attack="dlg") + many(row, [0.5], attack="idlg")
    rows += many(row, [0.9], attack="dlg", control="swapped") + many(row, [0.1], control="black")
    (found,) = strips(summarise(rows), rows)
    ((_, lines),) = found.groups.items()
    assert [line.controls for line in lines] == [[0.9], [0.1]]


def test_events_go_by_distance_where_less_is_nearer(row: Row) -> None:
    rows = [*spike_rows(row), *many(row, [0.5])]
    assert [found.measure for found in strips(summarise(rows), rows)] == [L2, SSIM]
    found = strips(summarise(rows), rows)[0]
    assert found.axis.low == 0.0
    assert found.axis.threshold is None


def test_texts_go_by_their_tokens(row: Row) -> None:
    words = {"ssim": None, "psnr_db": None, "last_ssim": None, "recognisable": True}
    rows = [row(**words, token_accuracy=0.5, tokens_found=1.0)]
    (found,) = strips(summarise(rows), rows)
    assert found.measure == TOKENS
    assert [line.values for lines in found.groups.values() for line in lines] == [[0.75]]
