"""What stands in the section on answers over time, of summaries made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from judges.intervals import distribution
from judges.report.curves import lines_drawing
from judges.report.table import Table
from judges.report.victims.timelines import TimeBlock, time_blocks, time_drawings, time_section
from judges.runs.timelines import Timelines
from judges.summaries.timelines import TimeSummary, summarise_timelines

KNOWN: dict[str, Any] = {"dataset": "dvs_gesture", "model": "spiking_lenet", "spiking": True, "init": "torch"}


def summary(cell: str, **changes: Any) -> TimeSummary:
    values: dict[str, Any] = {
        "cell": cell, "guess": "spikes", "thresholding": "none", "tau": None, "n": 2, "truth": (4.0, 6.0),
        "answer": (1.0, 2.0), "l2": (3.0, 3.5), "ssim": (0.5, 0.25), "correlation": distribution([0.5, -0.25]),
        "interval": (-0.25, 0.5), "defined": 2,
    }  # fmt: skip
    return TimeSummary(**KNOWN | values | changes)


def attack(tau: float, cell: str = "", **changes: Any) -> TimeSummary:
    told = {"attack": "dlg", "thresholding": "in_optimisation", "tau": tau, **changes}
    return summary(cell or f"dlg {tau}", **told)


def control(kind: str, **changes: Any) -> TimeSummary:
    return summary(f"control {kind} {changes.get('tau', '')}", control=kind, **changes)


EMPTY = control("black", answer=(0.0, 0.0), correlation=None, interval=None, defined=0)
LINES = [
    attack(0.5), attack(0.1), EMPTY, control("grey"), control("class mean"), control("no-op", tau=0.1),
    control("no-op", tau=0.5), control("swapped", attack="dlg", tau=0.1),
]  # fmt: skip


def named(block: TimeBlock, measure: str) -> list[str]:
    return [sweep.name for sweep in block.panels[measure].lines]


def test_each_threshold_stands_beside_its_own_guess() -> None:
    low, high = time_blocks(LINES, [])
    assert [one.name for one in (low, high)] == [
        f"DVS128 Gesture, spiking LeNet, torch initialisation, tau {tau}" for tau in (0.1, 0.5)
    ]
    assert [one.tau for one in low.lines] == [0.1, None, None, 0.1]
    assert [one.tau for one in high.lines] == [0.5, None, None, 0.5]
    assert named(low, "l2") == [
        "DLG, in-optimisation", "empty recording, control", "mean of the class, control", "guess, zero steps, control"
    ]  # fmt: skip


def test_all_spikes_are_in_view_from_none_to_thousands() -> None:
    many = attack(0.1, answer=(9000.0, 0.5))
    panel = time_blocks([many, EMPTY], [])[0].panels["spikes"]
    (axes,) = lines_drawing([panel], width=3.0, height=2.0).axes
    low, high = axes.transData.inverted().transform(axes.transAxes.transform([(0, 0), (1, 1)]))[:, 1]
    assert low < 0.0
    assert high > 9000.0
    middle = axes.transAxes.inverted().transform(axes.transData.transform((1, 100.0)))[1]
    assert 0.3 < middle < 0.7  # a hundred is half-way
    truth = panel.beneath
    assert truth is not None
    assert [(point.tau, point.mean) for point in truth.points] == [(1, 4.0), (2, 6.0)]


def test_values_that_are_not_finite_or_not_defined_are_not_drawn() -> None:
    lost = attack(0.1, answer=(None, None), l2=(None, 2.0), ssim=None)
    (block,) = time_blocks([lost], [])
    assert list(block.panels) == ["spikes", "l2"]
    assert block.panels["spikes"].lines == []
    assert [point.tau for point in block.panels["l2"].lines[0].points] == [2]
    assert not block.has_strips
    assert [name for name, _ in time_drawings([block])] == ["time-1-spikes", "time-1-l2"]


def test_lines_with_one_name_are_told_apart_by_their_cells() -> None:
    (block,) = time_blocks([attack(0.1, "first"), attack(0.1, "second")], [])
    assert named(block, "l2") == ["DLG, first, in-optimisation", "DLG, second, in-optimisation"]


def test_the_table_counts_of_how_many_the_correlation_is_defined() -> None:
    section = time_section(time_blocks(LINES, []), "")
    table = section.parts[-1]
    assert isinstance(table, Table)
    rows = [[cell.line for cell in cells] for _, cells in table.lines(table.groups[0])]
    small = [cells[1].below for _, cells in table.lines(table.groups[0])]
    assert rows[0][1:] == ["0.12 [\N{MINUS SIGN}0.25, 0.50]", "3.0", "10.0"]
    assert (rows[1][0], rows[1][1], small[1]) == ("empty recording", "\N{EN DASH}", "0 of 2")
    assert small[0] == "2 of 2"


def test_a_summary_leaves_out_what_is_not_defined() -> None:
    one = Timelines(
        **KNOWN, cell="c", repeats=(0, 1, 2), captures=("a", "b", "c"), examples=(0, 0, 0),
        truth=torch.tensor([[1.0, 2.0]] * 3), answer=torch.tensor([[1.0, 3.0], [torch.nan] * 2, [0.0, 0.0]]),
        l2=torch.tensor([[1.0, 2.0], [torch.inf] * 2, [3.0, 4.0]]), ssim=None,
        correlation=torch.tensor([0.5, torch.nan, torch.nan]),
    )  # fmt: skip
    (told,) = summarise_timelines([one], seed=0)
    assert (told.truth, told.answer, told.l2, told.ssim) == ((1.0, 2.0), (None, None), (None, None), None)
    assert (told.n, told.defined, told.interval) == (3, 1, None)
    assert told.correlation is not None
    assert told.correlation.mean == pytest.approx(0.5)
