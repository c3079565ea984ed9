"""What a run on gradients found, as values; the golden text has the sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from judges.report.gradient_inversion.events import spike_tables
from judges.report.gradient_inversion.findings import (
    BestControls,
    Missed,
    Observed,
    OfVerdict,
    OtherwiseByPsnr,
    Scored,
    Thresholded,
    find,
    observe,
)
from judges.report.gradient_inversion.sentences import sentence
from judges.runs.identity import Attacked
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import summarise
from judges.summaries.verdicts import DIVERGED, RECOVERED, TOO_FEW
from tests.judges.report.gradient_inversion.test_trends import many
from tests.judges.spike_rows import spike_rows

Row = Callable[..., Score]
GROUP = Attacked(dataset="toy", model="lenet", family="lenet", init="uniform").group


def test_nothing_is_found_where_nothing_was_attacked(row: Row) -> None:
    assert find(summarise([row(control="black")])) == [Scored(0, 0, 0)]


def test_verdicts_come_from_the_loudest_on_beside_the_best_control(row: Row) -> None:
    rows = many(row, [0.9, 0.8], attack="idlg") + many(row, [0.1, 0.1], attack="dlg")
    rows += many(row, [0.2, 0.3], control="black") + many(row, [0.1, 0.2], control="grey")
    scored, recovered, trivial, controls = find(summarise(rows))
    assert scored == Scored(4, 2, 0)
    assert isinstance(recovered, OfVerdict)
    assert isinstance(trivial, OfVerdict)
    assert [(one.verdict, [cell.attack for cell in one.cells]) for one in (recovered, trivial)] == [
        (RECOVERED, ["idlg"]), (TOO_FEW, ["dlg"]),
    ]  # fmt: skip
    assert controls == BestControls(("black",), 0.25, 0.25)


def test_a_control_that_is_nearer_by_psnr_is_told(row: Row) -> None:
    rows = many(row, [0.9, 0.8]) + [
        dataclasses.replace(one, psnr_db=50.0) for one in many(row, [0.2] * 2, control="black")
    ]
    (found,) = [one for one in find(summarise(rows)) if isinstance(one, OtherwiseByPsnr)]
    assert sentence(found).endswith("on toy, LeNet, uniform initialisation: iDLG 34.0, black 50.0.")
    usual = many(row, [0.9, 0.8]) + many(row, [0.2] * 2, control="black")
    assert not [one for one in find(summarise(usual)) if isinstance(one, OtherwiseByPsnr)]


def test_what_diverged_under_the_papers_protocol_is_no_failure(row: Row) -> None:
    rows = [
        row(varied={"protocol": protocol}, stop_reason="diverged", capture_id=f"v{index}")
        for protocol in ("ours", "published")
        for index in range(2)
    ]
    scored, *_ = find(summarise(rows))
    assert scored == Scored(examples=4, cells=2, diverged=2, published=1, kept=2)
    assert sentence(scored) == (
        "4 attacked examples in 2 cells of data, model and attack. 2 of 4 diverged and count as failures. 1 cell with "
        "protocol=published: what the config leaves open is as in arXiv 2511.21181 there, and the 2 that diverged are "
        "scored like others."
    )


def test_groups_where_every_attack_failed_are_no_evidence(row: Row) -> None:
    lost = many(row, [0.1, 0.1], stop_reason="diverged") + many(row, [0.2, 0.3], control="black")
    (missed,) = [one for one in find(summarise(lost)) if isinstance(one, Missed)]
    assert missed == Missed((GROUP,), ((DIVERGED, ("iDLG",)),), all_open=True, adversaries=())
    few = lost + many(row, [0.1, 0.1], attack="dlg")
    (missed,) = [one for one in find(summarise(few)) if isinstance(one, Missed)]
    assert missed == Missed((GROUP,), ((DIVERGED, ("iDLG",)), (TOO_FEW, ("DLG",))), all_open=True, adversaries=())
    both = lost + many(row, [0.1] * 5, attack="dlg") + many(row, [0.2] * 5, control="black")
    (missed,) = [one for one in find(summarise(both)) if isinstance(one, Missed)]
    assert (missed.open, missed.all_open) == (((DIVERGED, ("iDLG",)),), False)


def test_thresholding_is_told_by_distance(row: Row) -> None:
    summary = summarise(spike_rows(row), judges={"dvs_gesture": {"chance": 0.1}})
    (group,) = {one.group for one in spike_rows(row)}
    assert find(summary)[1:] == [Thresholded(group, 12, (0.25, 0.25), 0.1, closer=2, compared=12)]
    (table,) = spike_tables(summary)
    assert list(observe(table)) == [
        Observed("in_optimisation", 4, (("guess", (0.1, 0.1, 0.5, 0.5)), ("empty", (0.5, 0.5)))),
        Observed("straight_through", 4, (("closer", (0.5, 0.5)),)),
    ]
