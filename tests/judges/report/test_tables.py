from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fl_sim.records import Scalar
from judges.report.gradient_inversion.report import write_report
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.measures import ClassDistances
from judges.runs.pictures import ANSWER, TRUTH, Pictures, save_pictures
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.pages import cells_of, text_of
from tests.judges.spike_rows import DISTANCES, spike_rows

Row = Callable[..., Score]
EVIL = "<b>x</b>"
JUDGES: dict[str, dict[str, Scalar]] = {
    "mnist": {"accuracy": 0.981, "train_accuracy": 0.997, "chance": 0.1, "n_train": 60000, "description": "a LeNet"},
    "dvs_gesture": {"accuracy": 0.8, "chance": 1 / 11},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a run folder of some rows and returns its page."""

    def write_run(rows: Sequence[Score], distances: dict[str, ClassDistances] | None = None) -> str:
        write_scores(rows, tmp_path / "scores.csv")
        write_summary(summarise(rows, judges=JUDGES, distances=distances), tmp_path / "summary.json")
        (tmp_path / "manifest.json").write_text(json.dumps({"datasets": {"dvs_gesture": {"people": False}}}))
        (tmp_path / "config.toml").write_text("")
        return write_report(tmp_path).read_text()

    return write_run


def victims(row: Row, **changes: object) -> list[Score]:
    """Return four victims, one of which diverged."""
    return [
        row(capture_id=f"v{index}", ssim=0.2 * index, mse=0.01 * index, psnr_db=10.0 * index, last_ssim=0.125,
            judge_correct=index > 0, stop_reason="diverged" if index == 0 else "converged", **changes)
        for index in range(4)
    ]  # fmt: skip


def test_table_iv_has_our_numbers_and_the_papers(row: Row, write: Callable[..., str]) -> None:
    own = victims(row, dataset="mnist")
    rows = own + [dataclasses.replace(score, control="no-op", judge_correct=False) for score in own]
    page = write(rows)
    (line,) = [cells for cells in cells_of(page, "table-iv") if cells[0] == "LeNet"]
    assert line[:3] == ["LeNet", "uniform", "4"]
    assert re.fullmatch(r"75\.0 \[\d+, 100\] truth 100, no-op 0, last 100", line[3])
    assert line[4] == "88.3"
    assert re.fullmatch(r"0\.015 \[0\.\d+, 0\.\d+\] median 0\.015, last 0\.003", line[5])
    assert line[6] == "0.04"
    assert re.fullmatch(r"0\.30 \[0\.\d+, 0\.\d+\] median 0\.30, last 0\.12", line[7])
    assert line[8] == "0.86"
    assert line[9].startswith("15.0 [")
    assert line[9].endswith("median 15.0, last 25.0")
    assert line[10:] == ["28.0", "1", "too few victims to tell"]
    assert "iDLG on MNIST judge, %: held-out 98.1, chance 10" in [cells[0] for cells in cells_of(page, "table-iv")]
    assert "99.7 %" in text_of(page, "judges")


def test_who_tried_what_names_every_letter(row: Row, write: Callable[..., str]) -> None:
    rows = victims(row, adversary="A", seconds=0.5) + victims(row, adversary="A", cell="more", gradient_evaluations=300)
    rows += victims(row, attack="mine", cell="mine", adversary="D", auxiliary="emnist")
    rows += victims(row, attack="odd", cell="odd", adversary="Z") + victims(row, control="black", adversary="B")
    lines = cells_of(write(rows), "tried")
    dash = "\N{EN DASH}"
    assert lines == [
        ["Adversary", "Attack", "Victims", "Evaluations a victim", "Seconds a victim", "Auxiliary data"],
        ["A the update only", "iDLG", "8", "75 to 300", "0.50", ""],
        ["B a prior of the inputs, too", "not tried", dash, dash, dash, ""],
        ["C how the client trains, too", "not tried", dash, dash, dash, ""],
        ["D examples of other people, too", "mine", "4", "75", "0.50", "emnist"],
        ["E statistics of the client's data, too", "not tried", dash, dash, dash, ""],
        ["F to H may also tamper with the training, which is not this threat model", "not tried", dash, dash, dash, ""],
        ["Z", "odd", "4", "75", "0.50", ""],
    ]
    assert "Auxiliary" not in text_of(write(victims(row)), "tried")


def test_the_paper_stands_only_where_it_has_the_cell(row: Row, write: Callable[..., str]) -> None:
    page = write(victims(row, dataset="digits"))
    assert "paper" not in text_of(page, "table-iv").lower()
    page = write(victims(row, dataset="mnist") + victims(row, dataset="digits"))
    lines = [cells for cells in cells_of(page, "table-iv") if cells[0] == "LeNet"]
    assert [[cells[at] for at in (4, 6, 8, 10)] for cells in lines] == [["88.3", "0.04", "0.86", "28.0"], [""] * 4]
    assert "does not state its initialisation" in text_of(page, "table-iv")


def test_a_run_without_a_judge(row: Row, write: Callable[..., str]) -> None:
    rows = victims(row) + spike_rows(row)
    unjudged: dict[str, Any] = dict.fromkeys(("judge_correct", "truth_judge_correct", "last_judge_correct"))
    page = write([dataclasses.replace(score, **unjudged) for score in rows])
    (line,) = [cells for cells in cells_of(page, "table-iv") if cells[0] == "LeNet"]
    assert line[3] == "\N{EN DASH}"
    assert "Events under thresholding" in page


def test_table_v_has_every_way_beside_the_guess(row: Row, write: Callable[..., str], tmp_path: Path) -> None:
    page = write(spike_rows(row), DISTANCES)
    assert 'id="table-iv"' not in page
    lines = cells_of(page, "table-v")
    (line,) = [cells for cells in lines if cells[0] == "0.1 iDLG"]
    assert re.fullmatch(r"25\.0 \[\d+, \d+\] paper 9\.2", line[1])
    assert re.fullmatch(r"500\.00 \[[\d.]+, [\d.]+\] no closer last 0\.60 paper 508\.09", line[2])
    assert re.fullmatch(r"452\.00 \[[\d.]+, [\d.]+\] equals guess last 0\.60 paper 457\.28", line[4])
    assert re.fullmatch(r"60\.00 \[[\d.]+, [\d.]+\] no closer last 0\.60", line[6])
    assert line[7:] == ["450.00", "456.74"]
    text = text_of(page, "table-v")
    assert "l2 to the empty one: 40.00" in text
    assert "held-out 80, on the true recordings 100, chance 9.09" in text
    assert "in 4 of 4 rows (tau 0.1, 0.5)" in text
    markdown = (tmp_path / "report.md").read_text()
    assert "in 4 of 4 rows (tau 0.1, 0.5)" in markdown
    (line,) = [line.split(" | ") for line in markdown.splitlines() if line.startswith("| 0.1 iDLG |")]
    assert line[2] == "paper 9.2"
    assert line[-2:] == ["450.00", "456.74 |"]


def test_other_recordings_have_no_paper_beside_them(row: Row, write: Callable[..., str]) -> None:
    page = write(spike_rows(row, dataset="digits_dvs"))
    assert "paper" not in text_of(page, "table-v").lower()
    assert [cells[-1] for cells in cells_of(page, "table-v") if cells[0] == "0.1 DLG"] == ["450.00"]


def test_the_record_calls_no_empty_answer_recovered(row: Row, write: Callable[..., str]) -> None:
    """All rows of these recordings have an SSIM of 0.95."""
    lines = cells_of(write(spike_rows(row)), "record")
    told = [cells for cells in lines if cells[0].startswith("DLG, in-optimisation, tau 0.5 ")]
    assert [cells[0].removeprefix("DLG, in-optimisation, tau 0.5 ") for cells in told] == [
        "equals guess and empty",
        "on DVS128 Gesture, spiking LeNet, uniform initialisation",
    ]
    assert told[1][1:] == [
        "equals guess and empty",
        "mean l2 40.10 (thresholded guess 40.00, empty recording 40.00)",
    ]


def test_table_vi_has_the_papers_numbers_for_its_data_set(row: Row, write: Callable[..., str], tmp_path: Path) -> None:
    told = {**DISTANCES, EVIL: DISTANCES["dvs_gesture"]}
    page = write(spike_rows(row), told)
    lines = cells_of(page, "table-vi")
    assert [
        "DVS128 Gesture, inter-class", "62.50 paper 60.80", "1.00 paper 11.51", "61.00 paper 14.93",
        "64.00 paper 105.15", "2",
    ] in lines  # fmt: skip
    assert [f"{EVIL}, intra-class", "61.50", "0.00", "61.50", "61.50", "1"] in lines
    assert EVIL not in page
    markdown = (tmp_path / "report.md").read_text()
    line = "62.50 | paper 60.80 | 1.00 | paper 11.51 | 61.00 | paper 14.93 | 64.00 | paper 105.15 | 2"
    assert f"| DVS128 Gesture, inter-class | {line} |" in markdown
    assert 'id="table-vi"' not in write(spike_rows(row))


def test_the_size_of_our_recordings_is_told_where_it_differs(
    row: Row, write: Callable[..., str], tmp_path: Path
) -> None:
    rows = spike_rows(row)
    own = [score for score in rows if score.cell == "f/dlg-thresholding=in_optimisation-tau=0.5"]
    gallery = Pictures(
        **columns_of(own[0], Approach, Attacked), cell=own[0].cell, thresholding=own[0].thresholding, tau=own[0].tau,
        timesteps=10, roles=("best", "upper quartile"), subjects=("v0", "v1"),
        images={TRUTH: torch.rand(2, 2, 16, 16), ANSWER: torch.zeros(2, 2, 16, 16)}, limits=(0.0, 1.0),
        numbers={"label": (1, 1), "ssim": (0.9, 0.9), "psnr_db": (9.0, 9.0), "l2": (40.1, 40.2)},
        words={"stop_reason": ("converged", "converged")}, loss_curves=torch.rand(2, 3),
        curve_recognisable=(False, False),
    )  # fmt: skip
    save_pictures(gallery, tmp_path)
    page = write(rows)
    assert "ours are of 10 \N{MULTIPLICATION SIGN} 2 \N{MULTIPLICATION SIGN} 16" in text_of(page, "table-v")
    pictures = text_of(page, "pictures")
    assert "10 frames summed over time" in pictures
    assert "spiking LeNet, in-optimisation" in pictures
    assert "l2 40.10" in pictures
    assert "upper quartile" not in pictures


def test_names_in_the_tables_are_escaped(row: Row, write: Callable[..., str], tmp_path: Path) -> None:
    rows = victims(row, attack=EVIL, dataset=EVIL, model=EVIL, init=EVIL)
    rows += [dataclasses.replace(score, init=EVIL) for score in spike_rows(row, dataset=EVIL, attacks=(EVIL,))]
    page = write(rows)
    assert EVIL not in page
    assert page.count("&lt;b&gt;") > 10
    assert EVIL not in (tmp_path / "report.md").read_text()


def test_every_table_of_markdown_has_all_columns(row: Row, write: Callable[..., str], tmp_path: Path) -> None:
    rows = [score for score in spike_rows(row) if "straight_through-tau=0.5" not in score.attack]
    write(victims(row, dataset="mnist") + rows, DISTANCES)
    tables: list[list[int]] = [[]]
    for line in (tmp_path / "report.md").read_text().splitlines():
        if line.startswith("|"):
            tables[-1].append(line.replace("\\|", "").count("|"))
        elif tables[-1]:
            tables.append([])
    found = [table for table in tables if table]
    assert len(found) == 8
    assert all(len(set(table)) == 1 and len(table) >= 2 for table in found)
