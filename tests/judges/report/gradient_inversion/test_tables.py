from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from judges.report.gradient_inversion.events import (
    Nearness,
    nearness,
    paper_guess_l2,
    spike_tables,
    thresholded_guess_l2,
)
from judges.report.gradient_inversion.sentences import findings, observations
from judges.report.gradient_inversion.tables import image_rows, image_section
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import CellSummary, summarise
from judges.summaries.published import PUBLISHED, PUBLISHED_SPIKES
from tests.judges.spike_rows import DISTANCES, GUESS, spike_rows

Row = Callable[..., Score]
JUDGES = {"mnist": {"accuracy": 0.98, "chance": 0.1}, "dvs_gesture": {"accuracy": 0.8, "chance": 1 / 11}}


def image_scores(row: Row) -> list[Score]:
    """Return two victims of two attacks on two networks under two initialisations, the last cell first."""
    return [
        row(dataset=dataset, model=model, init=init, capture_id=f"v{index}", judge_correct=correct,
            cell=approach.get("attack", ""), **approach)
        for dataset in ("mnist", "digits")
        for model in ("lenet", "spiking_lenet")
        for init in ("uniform", "torch")
        for approach, correct in (({"attack": "dlg"}, True), ({"attack": "grnn", "guess": "grnn"}, True),
                                  ({"control": "no-op"}, False),
                                  ({"control": "no-op", "guess": "grnn"}, None if dataset == "digits" else True))
        for index in range(2)
    ]  # fmt: skip


def test_table_iv_is_ordered_and_has_the_papers_row_only_where_there_is_one(row: Row) -> None:
    rows = image_rows(summarise(image_scores(row), judges=JUDGES))
    assert [(line.cell.attack, line.cell.dataset, line.cell.init, line.cell.model) for line in rows] == [
        (attack, dataset, init, model)
        for attack in ("dlg", "grnn")
        for dataset in ("mnist", "digits")
        for init in ("uniform", "torch")
        for model in ("lenet", "spiking_lenet")
    ]
    for line in rows:
        assert line.cell.published == PUBLISHED.get((line.cell.attack, line.cell.dataset, line.cell.model))
        expected = (0.98, 0.1) if line.cell.dataset == "mnist" else (None, None)
        assert (line.held_out, line.chance) == expected
    section = image_section(summarise(image_scores(row), judges=JUDGES))
    known = "judge, %: held-out 98, chance 10"
    assert [(group.title, group.note, len(group.rows)) for group in section.tables[0].groups] == [
        ("DLG on MNIST", known, 4), ("DLG on digits", "", 4), ("GRNN on MNIST", known, 4), ("GRNN on digits", "", 4),
    ]  # fmt: skip


def test_each_attack_stands_beside_its_own_guess(row: Row) -> None:
    rows = image_rows(summarise(image_scores(row)))
    assert {(line.cell.attack, line.cell.dataset): line.no_op for line in rows} == {
        ("dlg", "mnist"): 0.0, ("grnn", "mnist"): 1.0, ("dlg", "digits"): 0.0, ("grnn", "digits"): None,
    }  # fmt: skip


def test_a_guess_that_an_attack_names_is_its_own(row: Row) -> None:
    rows = [
        one
        for guess, correct in (("normal", False), ("uniform", True))
        for one in (
            row(attack="dlg", attack_settings={"guess": guess}, guess=guess, cell=guess),
            row(control="no-op", guess=guess, judge_correct=correct),
        )
    ]
    assert [line.no_op for line in image_rows(summarise(rows))] == [0.0, 1.0]
    assert [line.no_op for line in image_rows(summarise([row(), row(control="no-op", judge_correct=False)]))] == [0]


def test_table_v_puts_the_ways_beside_each_other(row: Row) -> None:
    summary = summarise(spike_rows(row), judges=JUDGES, distances=DISTANCES)
    (table,) = spike_tables(summary)
    assert table.ways == ("post_optimisation", "in_optimisation", "straight_through")
    assert [(line.tau, line.attack) for line in table.rows] == [
        (0.1, "DLG"),
        (0.1, "iDLG"),
        (0.5, "DLG"),
        (0.5, "iDLG"),
    ]
    assert table.norm == pytest.approx(40.0)  # of these victims, not the 41 of the data set
    assert (table.held_out, table.ceiling) == (0.8, 1.0)
    first = table.rows[0]
    assert {way: cell.l2.mean for way, cell in first.cells.items()} == pytest.approx(
        {"post_optimisation": 500.0, "in_optimisation": 452.0, "straight_through": 60.0}
    )
    assert first.guess is not None
    assert first.guess.l2.mean == pytest.approx(GUESS[0.1])
    assert first.published == {way: PUBLISHED_SPIKES["dlg", way][0.1] for way in table.ways[:2]}
    assert image_rows(summary) == []


def test_protocols_on_the_same_recordings_share_table_v(row: Row) -> None:
    both = [
        row(**{**vars(score), "varied": {"protocol": protocol}})
        for protocol in ("published", "ours")
        for score in spike_rows(row)
    ]
    (table,) = spike_tables(summarise(both))
    assert table.group.varied == ()
    assert [(line.tau, line.attack) for line in table.rows[:4]] == [
        (0.1, "DLG, protocol=published"),
        (0.1, "DLG, protocol=ours"),
        (0.1, "iDLG, protocol=published"),
        (0.1, "iDLG, protocol=ours"),
    ]
    other = [row(**{**vars(one), "l2": 50.0}) if one.control == "black" and one.as_published else one for one in both]
    assert [one.norm for one in spike_tables(summarise(other))] == [50.0, pytest.approx(40.0)]


def test_the_papers_recordings_stand_beside_no_other_data_set(row: Row) -> None:
    for changes in ({"dataset": "digits_dvs"}, {}):
        scores = spike_rows(row, **changes)  # type: ignore[arg-type]
        if not changes:
            scores = [row(**{**vars(score), "defence": "noise"}) for score in scores]
        (table,) = spike_tables(summarise(scores))
        assert not any(line.published for line in table.rows)


def test_without_controls_the_norm_is_that_of_the_data_set(row: Row) -> None:
    scores = [score for score in spike_rows(row) if not score.is_control]
    (table,) = spike_tables(summarise(scores, distances=DISTANCES))
    assert table.norm == 41.0
    assert all(line.guess is None for line in table.rows)
    (bare,) = spike_tables(summarise(scores))
    assert bare.norm is None
    assert observations(bare) == []


def test_the_observations_are_the_numbers(row: Row) -> None:
    (table,) = spike_tables(summarise(spike_rows(row)))
    assert observations(table) == [
        "In-optimisation thresholding, mean l2: within 1 % of that of the thresholded guess with zero steps in 4 of 4 "
        "rows (tau 0.1, 0.5); within 1 % of that of the empty recording in 2 of 4 rows (tau 0.5).",
        "Straight-through thresholding, mean l2: less than both by more than 1 % in 2 of 4 rows (tau 0.5).",
    ]


def test_nothing_is_observed_that_is_not_so(row: Row) -> None:
    scores = [row(**{**vars(score), "l2": 600.0}) if not score.is_control else score for score in spike_rows(row)]
    (table,) = spike_tables(summarise(scores))
    assert observations(table) == []


def test_findings_of_events_speak_of_distance(row: Row) -> None:
    text = findings(summarise(spike_rows(row), judges=JUDGES))
    assert len(text) == 2
    assert text[1] == (
        "With thresholding on DVS128 Gesture, spiking LeNet, uniform initialisation, 12 cells: "
        "ASR 25\N{NO-BREAK SPACE}% (chance 9\N{NO-BREAK SPACE}%); the mean l2 is below those of the thresholded guess "
        "with zero steps and of the empty recording, by more than 1 %, in 2 of 12."
    )
    assert "recognisable" not in " ".join(text)


def test_many_cells_are_listed_without_their_numbers(row: Row) -> None:
    scores = [row(dataset=f"d{index}", model=model) for index in range(5) for model in ("lenet", "spiking_lenet")]
    text = findings(summarise(scores))
    assert text[1].startswith("Recovered, 10 of 10 cells: iDLG on d0, LeNet and on d0")
    assert "mean SSIM" not in text[1]


def cell_at(row: Row, l2: float) -> CellSummary:
    return summarise([row(l2=l2)]).cells[0]


@pytest.mark.parametrize(
    ("l2", "guess", "norm", "expected", "words"),
    [
        (100.9, 100.0, 40.0, Nearness(True, False, False), "equals guess"),
        (101.1, 100.0, 40.0, Nearness(False, False, False), "no closer"),
        (40.3, 100.0, 40.0, Nearness(False, True, False), "equals empty"),
        (39.7, 40.0, 40.0, Nearness(True, True, False), "equals guess and empty"),
        (39.0, 100.0, 40.0, Nearness(False, False, True), "closer"),
        (39.0, None, 40.0, Nearness(False, False, True), "closer"),
        (39.0, None, None, Nearness(False, False, None), ""),
        (math.inf, 100.0, 40.0, Nearness(False, False, False), "no closer"),
    ],
)
def test_nearness(row: Row, l2: float, guess: float | None, norm: float | None, expected: Nearness, words: str) -> None:
    start = None if guess is None else cell_at(row, guess)
    assert nearness(cell_at(row, l2), start, norm) == expected
    assert expected.words == words


@pytest.mark.parametrize(("tau", "l2"), [(0.1, 456.74), (0.25, 99.53), (0.5, 42.57), (0.75, 42.56), (0.95, 42.56)])
def test_the_guess_at_the_papers_size(tau: float, l2: float) -> None:
    """The values were found by thresholding draws of the paper's size."""
    assert paper_guess_l2(tau) == pytest.approx(l2, abs=0.006)


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.2, 0.3])
def test_the_closed_form_agrees_with_a_simulation(tau: float) -> None:
    generator = torch.Generator().manual_seed(3)
    voxels, spikes = 20_000, 3_000
    recording = torch.zeros(voxels)
    recording[torch.randperm(voxels, generator=generator)[:spikes]] = 1.0
    guesses = (0.1 * torch.randn(20, voxels, generator=generator)).abs()
    far = ((guesses > tau).float() - recording).norm(dim=1).square().mean().sqrt()
    found = thresholded_guess_l2(tau, sigma=0.1, voxels=voxels, norm=math.sqrt(spikes))
    assert found == pytest.approx(float(far), rel=2e-3)


def test_the_closed_form_at_its_ends() -> None:
    settings: dict[str, Any] = {"sigma": 0.1, "voxels": 100, "norm": 4.0}
    assert thresholded_guess_l2(0.0, **settings) == pytest.approx(math.sqrt(100 - 16))
    assert thresholded_guess_l2(9.0, **settings) == 4.0
