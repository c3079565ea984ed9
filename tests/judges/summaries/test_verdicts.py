"""What is said of a cell: each verdict from rows that call for it, and which comes first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from attacks.dlg import DLG
from attacks.settings import DLGSettings
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SealedBatch
from fl_sim.training import capture_gradient, parameters_of
from judges.intervals import distribution
from judges.report.gradient_inversion.sentences import findings
from judges.runs.measures import Health
from judges.runs.rows import Context, Score
from judges.scoring.gradient_inversion import labels_found, score
from judges.summaries.gradient_inversion import CellSummary, summarise
from judges.summaries.verdicts import (
    DEAD,
    DIVERGED,
    LABELS,
    NOTHING,
    OPEN,
    PARTLY,
    RECOVERED,
    STUCK,
    TOO_FEW,
    TRACES,
    UPDATE_TELLS,
    VERDICTS,
    WRONG_LABEL,
    WRONG_PROBLEM,
)

Row = Callable[..., Score]
ALIVE = Health(
    dataset="toy",
    model="lenet",
    family="lenet",
    init="uniform",
    captures=6,
    accuracy=0.9,
    chance=0.25,
    firing_rates={},
    silent={},
    zero_gradient=0.1,
    dead=0.0,
    gradient_norm=distribution([1.0]),
)
BEYOND_REACH = replace(ALIVE, dead=0.5)
SILENT = replace(ALIVE, firing_rates={"a": 0.0, "b": 0.0}, silent={"a": 1.0, "b": 1.0})
NOISY = replace(ALIVE, defence="noise")
MISS: dict[str, Any] = {
    "ssim": 0.1, "recognisable": False, "moved": 0.3, "first_loss": 1.0, "matching_loss": 0.1,
    "label_recovered": -1, "label_correct": False,
}  # fmt: skip


def cell_of(
    row: Row, changes: Sequence[dict[str, Any]], health: Health | None = None, *, controls: bool = True
) -> CellSummary:
    """Return the line of an attack on one victim for each of `changes`; the best control's SSIM is 0.3."""
    rows = [row(**({"capture_id": f"v{index}"} | change)) for index, change in enumerate(changes)]
    beside = (
        [replace(one, attack="", control="black", ssim=0.3, label_recovered=-1) for one in rows] if controls else []
    )
    return summarise([*rows, *beside], health=[health] if health else []).cells[0]


def miss(**changes: Any) -> dict[str, Any]:
    return MISS | changes


HIT: dict[str, Any] = {"ssim": 0.9, "recognisable": True}
LOST = miss(stop_reason="diverged")
STILL = miss(moved=0.009)
FLAT = miss(matching_loss=0.995, moved=None)
MISNAMED = miss(label_recovered=2)
READ = miss(label_recovered=1, label_correct=True)


@pytest.mark.parametrize(
    ("rows", "health", "verdict", "reason"),
    [
        ([HIT] * 3 + [miss()] * 3, ALIVE, RECOVERED, "3 of 6 recognisable and above"),
        ([HIT] + [miss()] * 5, ALIVE, PARTLY, "1 of 6 recognisable and above"),
        ([miss(ssim=0.4)] * 6, ALIVE, TRACES, "6 of 6 above it at all"),
        ([miss()] * 6, ALIVE, UPDATE_TELLS, "6 of 6 updates are not 0 outside the output layer; 0 of 6 recognisable"),
        ([miss()] * 6, replace(ALIVE, dead=0.49), UPDATE_TELLS, "3 of 6 updates are not 0"),
        ([miss()] * 6, None, NOTHING, "0 of 6 above it at all"),
        ([miss(defence="noise", adversary="B")] * 6, NOISY, NOTHING, "tried by adversary B; 0 of 6 recognisable"),
        ([READ] * 6, ALIVE, LABELS, "6 of 6 labels read right, 1.5 by chance; 0 of 6 recognisable"),
        ([READ] * 4 + [miss()] * 2, ALIVE, LABELS, "4 of 6 labels read right"),
        ([READ] * 3 + [miss()] * 3, ALIVE, UPDATE_TELLS, "0 of 6"),
        ([READ] * 6, replace(ALIVE, told_labels=True), UPDATE_TELLS, "0 of 6"),
        ([READ] * 6, None, NOTHING, "0 of 6"),
        ([READ | {"mismatch": 0.5}] * 6, ALIVE, WRONG_PROBLEM, "6 of 6 labels read right"),
        ([READ | {"moved": 0.0}] * 6, BEYOND_REACH, LABELS, "3 of 6 updates are exactly 0 outside the output layer"),
        ([miss()] * 6, BEYOND_REACH, DEAD, "3 of 6 updates are exactly 0 outside the output layer"),
        ([miss(defence="prune")] * 6, replace(BEYOND_REACH, defence="prune"), NOTHING, "0 of 6"),
        ([miss(defence="clip")] * 6, replace(BEYOND_REACH, defence="clip"), DEAD, "3 of 6 updates are exactly 0"),
        ([miss()] * 6, SILENT, UPDATE_TELLS, "no neuron of 2 spiking layers fired on the inputs"),
        ([miss()] * 6, replace(SILENT, dead=1.0), DEAD, "no neuron of 2 spiking layers fired on the inputs"),
        ([LOST] * 3 + [miss()] * 3, ALIVE, DIVERGED, "3 of 6 diverged"),
        ([LOST] * 2 + [miss()] * 4, ALIVE, UPDATE_TELLS, "2 of 6 diverged"),
        ([STILL] * 4 + [miss()] * 2, ALIVE, STUCK, "a median of 0.009 of the data range from the initial guess"),
        ([STILL] * 2 + [miss()] * 4, ALIVE, UPDATE_TELLS, "0 of 6"),
        ([FLAT] * 3 + [miss(moved=None)] * 3, ALIVE, STUCK, "the matching loss fell by less than 1 % for 3 of 6"),
        ([FLAT] * 2 + [miss(moved=None)] * 4, ALIVE, UPDATE_TELLS, "0 of 6"),
        ([miss(matching_loss=0.995)] * 6, ALIVE, UPDATE_TELLS, "0 of 6"),
        ([miss(moved=None, first_loss=None)] * 6, ALIVE, UPDATE_TELLS, "0 of 6"),
        ([MISNAMED] * 3 + [READ] * 3, ALIVE, WRONG_LABEL, "3 of 6 labels named wrongly"),
        ([MISNAMED] * 2 + [READ] * 3 + [miss()], ALIVE, UPDATE_TELLS, "0 of 6"),
    ],
)  # fmt: skip
def test_each_verdict_and_its_numbers(
    row: Row, rows: list[dict[str, Any]], health: Health | None, verdict: str, reason: str
) -> None:
    cell = cell_of(row, rows, health)
    assert cell.verdict == verdict
    assert reason in cell.reason
    assert cell.verdict in VERDICTS


@pytest.mark.parametrize(
    ("rows", "health", "verdict"),
    [
        ([{**LOST, **HIT}] * 2 + [HIT] * 4, BEYOND_REACH, RECOVERED),
        ([{**STILL, **MISNAMED, "moved": 0.0, "ssim": 0.4}] * 6, BEYOND_REACH, TRACES),
        ([LOST | {"moved": 0.0}] * 6, BEYOND_REACH, DEAD),
        ([LOST | {"moved": 0.0}] * 3 + [STILL] * 3, ALIVE, DIVERGED),
        ([LOST | {"moved": 9.0}] * 2 + [STILL] * 4, ALIVE, STUCK),
        ([{**MISNAMED, "moved": 0.0}] * 6, ALIVE, STUCK),
    ],
)
def test_what_comes_first(row: Row, rows: list[dict[str, Any]], health: Health, verdict: str) -> None:
    assert cell_of(row, rows, health).verdict == verdict


def test_the_reason_tells_of_all_causes(row: Row) -> None:
    cell = cell_of(row, [{**MISNAMED, "moved": 0.0}] * 6, replace(SILENT, dead=1.0))
    assert cell.verdict == DEAD
    for words in (
        "6 of 6 updates are exactly 0",
        "no neuron of 2",
        "a median of 0 of the data range",
        "6 of 6 labels named wrongly",
        "0 of 6 above",
    ):
        assert words in cell.reason
    stopped = cell_of(row, [LOST | {"moved": 0.0}] * 6, SILENT)
    assert "6 of 6 diverged" in stopped.reason
    assert "median" not in stopped.reason


@pytest.mark.parametrize(
    ("victims", "change", "verdict", "reason"),
    [
        (4, miss(), TOO_FEW, "with 4 to compare, p is at least 0.062"),
        (
            4,
            miss(ssim=0.4),
            TOO_FEW,
            "4 of 4 above it at all",
        ),
        (5, miss(), UPDATE_TELLS, "0 of 5 above it at all"),
        (5, miss(ssim=0.4), TRACES, "5 of 5 above it at all"),
        (4, LOST, DIVERGED, "4 of 4 diverged"),
        (4, STILL, STUCK, "a median of 0.009"),
    ],
)
def test_few_victims_are_no_evidence_against_an_attack(
    row: Row, victims: int, change: dict[str, Any], verdict: str, reason: str
) -> None:
    """Of four signs alike, p is 1/16."""
    cell = cell_of(row, [change] * victims, ALIVE)
    assert (cell.verdict, reason in cell.reason) == (verdict, True), cell.reason


def test_few_victims_that_are_found_count_with_their_interval(row: Row) -> None:
    cell = cell_of(row, [HIT] * 2, ALIVE)
    low = 100 * 0.025**0.5  # Clopper and Pearson, 2 of 2
    interval = f"95 % interval {low:.0f} to 100 %".replace(" %", "\N{NO-BREAK SPACE}%")
    assert cell.verdict == RECOVERED
    assert f"2 of 2 recognisable and above their best control ({interval})" in cell.reason


def test_many_victims_of_few_federations_are_few(row: Row) -> None:
    rows = [miss(repeat=index % 2) for index in range(6)]
    assert cell_of(row, rows, ALIVE).verdict == TOO_FEW


def test_causes_come_before_the_lack_of_controls(row: Row) -> None:
    assert cell_of(row, [miss()] * 4, ALIVE, controls=False).verdict == UPDATE_TELLS
    assert cell_of(row, [STILL] * 4, ALIVE, controls=False).verdict == STUCK


def test_labels_of_a_batch_are_compared_as_a_whole(row: Row) -> None:
    """Pictures that are not found are paired with originals by chance, and their labels with them."""

    def batch(named: list[int]) -> list[dict[str, Any]]:
        same = miss(capture_id="b", label_correct=False)
        found = labels_found(range(4), named)
        return [
            same | {"example": at, "label": at, "label_recovered": named[at], "label_found": found[at]}
            for at in range(4)
        ]

    whole = cell_of(row, batch([1, 2, 3, 0]), ALIVE)
    assert (whole.verdict, whole.label_accuracy, whole.label_accuracy_paired) == (TOO_FEW, 1.0, 0.0)
    of_ten = cell_of(row, batch([1, 2, 3, 0]), replace(ALIVE, chance=0.1))
    assert of_ten.verdict == LABELS  # four different ones of ten classes name 1.6 of these four: p 0.026
    assert "4 of 4 labels read right, 1.6 by chance" in of_ten.reason
    cell = cell_of(row, batch([0, 0, 0, 0]), ALIVE)
    assert cell.label_accuracy == 0.25
    assert (cell.verdict, "3 of 4 labels" in cell.reason) == (WRONG_LABEL, True)


SMALL: dict[str, Any] = {"ssim": None, "last_ssim": None, "recognisable": None, "label_recovered": -1}


@pytest.mark.parametrize(
    ("errors", "control", "verdict", "reason"),
    [
        ([1e-5] * 4 + [0.2] * 2, 0.1, RECOVERED, "4 of 6 solved and nearer than their best control"),
        ([1e-5] + [0.2] * 5, 0.1, PARTLY, "1 of 6 solved and nearer than their best control"),
        ([1e-5] * 6, 1e-6, UPDATE_TELLS, "0 of 6 solved and nearer"),
        ([0.05] * 6, 0.1, TRACES, "6 of 6 nearer than it at all"),
        ([0.2] * 5 + [math.inf], 0.1, UPDATE_TELLS, "0 of 6 nearer than it at all"),
        ([1e-5] * 3, None, RECOVERED, "3 of 3 solved; no controls to compare with; by MSE, since SSIM is not defined"),
    ],
)
def test_pictures_without_an_ssim_are_judged_by_their_mse(
    row: Row, errors: list[float], control: float | None, verdict: str, reason: str
) -> None:
    rows = [
        row(**SMALL, capture_id=f"v{index}", mse=mse, solved=mse < 1e-3, moved=0.3) for index, mse in enumerate(errors)
    ]
    beside = [] if control is None else [replace(one, attack="", control="black", mse=control) for one in rows]
    cell, *_ = summarise([*rows, *beside], health=[ALIVE]).cells
    assert (cell.verdict, reason in cell.reason) == (verdict, True), cell.reason
    assert "smaller than 7x7" in cell.reason
    assert (cell.ssim, cell.last["ssim"], cell.recognisable, cell.intervals["ssim"]) == (None,) * 4
    assert cell.psnr_db is not None
    assert cell.psnr_db.mean == 30.0


@pytest.mark.parametrize(("iterations", "stuck"), [(0, True), (20, False)])
def test_a_search_without_a_step_is_stuck_at_its_guess(iterations: int, *, stuck: bool) -> None:
    spec = ModelSpec("lenet", InputSpec(1, 12, 12, 4))
    generator = torch.Generator().manual_seed(0)
    sealed = SealedBatch("toy/r002-c000", torch.rand(1, 1, 12, 12, generator=generator), torch.tensor([1]))
    parameters = parameters_of(build_model(spec, seed=0))
    capture = capture_gradient(spec, parameters, sealed.inputs, sealed.labels, capture_id=sealed.capture_id)
    settings = DLGSettings(iterations=iterations)
    (guess,) = DLG(settings.untouched()).reconstruct([capture], seed=0)
    (result,) = DLG(settings).reconstruct([capture], seed=0)
    rows = score(result, sealed, spec=spec.input, judge=None, context=Context(round=2), guess=guess.inputs)
    assert (rows[0].round, rows[0].moved == 0.0) == (2, stuck)
    assert (rows[0].matching_loss == rows[0].first_loss) == stuck
    (cell,) = summarise(rows).cells
    assert (cell.verdict == STUCK) == stuck


def test_no_failed_attack_is_told_as_a_defence(row: Row) -> None:
    """Only of updates that may tell nothing is it said that no attack did better, by whom, and no more than that."""

    def rows_of(attack: str, change: dict[str, Any], model: str) -> list[Score]:
        changes = change | {"attack": attack, "cell": attack, "model": model, "adversary": "B"}
        return [row(**(changes | {"capture_id": f"v{index}"})) for index in range(6)]

    rows = rows_of("dlg", STILL, "one") + rows_of("mine", STILL, "one") + rows_of("grnn", LOST, "one")
    rows += rows_of("dlg", miss(), "two") + rows_of("grnn", LOST, "two")
    rows += rows_of("dlg", HIT, "three") + rows_of("grnn", miss(), "three")
    rows += [
        replace(one, attack="", control="black", ssim=0.3, label_recovered=-1)
        for model in ("one", "two", "three")
        for one in rows_of("dlg", miss(), model)
    ]
    sentences = [sentence for sentence in findings(summarise(rows)) if sentence.startswith("On ")]
    failed, missed = sentences
    assert "one" in failed
    assert "no attack found anything (DLG, mine: stuck at the guess; GRNN: diverged), and nothing follows" in failed
    assert all(sentence.endswith(" Tried by adversary B.") for sentence in sentences)
    assert "two" in missed
    assert "no attack tried here did better than the controls (GRNN: diverged)" in missed
    assert not any("three" in sentence or "defended" in sentence for sentence in sentences)
    assert set(OPEN) < set(VERDICTS)
