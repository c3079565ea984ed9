"""A tiny real experiment whose answers are tried on a second target: who trains it, who sees it, what rows say."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from attacks.contracts import Inversion
from attacks.posterior import Target, log_posterior
from fl_sim.records import TrainedModel, load_record
from judges.bench.execution import run_plan
from judges.plans.model_inversion import make_inversion_plan
from judges.progress import Watch
from judges.report.model_inversion.tables import results_table
from judges.runs.identity import CLASS_MEAN, REAL, SHUFFLED
from judges.runs.rows.classes import ClassScore
from judges.runs.tables import read_rows
from judges.summaries.model_inversion import read_inversions
from tests.judges.bench.test_model_inversion import RAW
from tests.judges.pages import cells_of

OWN = {**RAW, "attack": {"name": ["mi_face", "brainleaks_v1"], "iterations": 3}, "attack_repeats": 1, "draws": 1}
TRIED = {**OWN, "transfer": 1}


def run(folder: Path, *, transfer: bool = True) -> list[ClassScore]:
    run_plan(make_inversion_plan(TRIED if transfer else OWN), folder, Watch(Console(file=io.StringIO())))
    return read_rows(ClassScore, folder / "scores.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, for reading."""
    folder = tmp_path_factory.mktemp("transfer") / "tiny"
    run(folder)
    return folder


def test_every_answer_and_control_is_tried_on_the_second_target_which_no_attack_saw(finished: Path) -> None:
    rows = read_rows(ClassScore, finished / "scores.csv")
    assert {row.control for row in rows} == {"", SHUFFLED, CLASS_MEAN, REAL}
    assert {(row.second_targets, row.target_seed) for row in rows} == {(1, 0)}
    attacked = {load_record(Inversion, path).model_id for path in (finished / "inversions").rglob("*.safetensors")}
    assert len(attacked) == 2  # one of each network, out of four
    assert {path.name for path in (finished / "models").iterdir()} == {
        f"digits-{model}-torch-00{seed}.safetensors" for model in ("mlp", "spiking_mlp") for seed in (0, 1)
    }
    for row in rows:
        if not row.is_control:
            assert row.own_confidence == pytest.approx(row.target_confidence, abs=1e-5)


def test_the_rows_are_the_posterior_of_the_second_target(finished: Path) -> None:
    path = finished / "inversions/digits-spiking_mlp-torch-000/brainleaks_v1-000.safetensors"
    answer = load_record(Inversion, path)
    second = load_record(TrainedModel, finished / "models/digits-spiking_mlp-torch-001.safetensors")
    target = Target(second, spiking=True, attack="", device="cpu", precision="float32")
    expected = log_posterior(target.outputs(answer.inputs)).exp()
    rows = [row for row in read_rows(ClassScore, finished / "scores.csv") if row.cell.endswith("torch/brainleaks_v1")]
    assert [row.second_confidence for row in rows] == pytest.approx(expected.diagonal().tolist(), abs=1e-6)
    assert [row.second_success for row in rows] == (expected.argmax(1) == answer.classes).long().tolist()
    (cell,) = [cell for cell in read_inversions(finished / "summary.json").cells if cell.cell == rows[0].cell]
    assert cell.transfer is not None
    assert cell.transfer.second.count == sum(row.second_success or 0 for row in rows)
    assert cell.transfer.own.count == sum(row.own_success is True for row in rows)


def test_the_report_has_a_line_for_each(finished: Path) -> None:
    lines = cells_of((finished / "report.html").read_text(encoding="utf-8"), "transfer")
    names = [line[0] for line in lines]
    for name in ("MI-Face", "MI-Face, shuffled", "BrainLeaks-v1", "BrainLeaks-v1, shuffled"):
        assert names.count(name) == 1
    assert names.count("class mean") == names.count("real examples") == 2


def test_the_terminal_has_a_column_for_it(finished: Path) -> None:
    table = results_table(read_inversions(finished / "summary.json"))
    assert [column.terminal for column in table.columns][-1] == "second"


def test_a_run_without_a_second_target_is_continued_with_one(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    plain = run(folder, transfer=False)
    assert all(row.second_success is None for row in plain)
    assert "Transfer to models" not in (folder / "report.html").read_text(encoding="utf-8")
    answers = {path: path.stat().st_mtime_ns for path in (folder / "inversions").rglob("*")}
    assert [row.second_confidence for row in run(folder)] == [
        row.second_confidence for row in read_rows(ClassScore, finished / "scores.csv")
    ]
    assert {path: path.stat().st_mtime_ns for path in (folder / "inversions").rglob("*")} == answers
    shutil.rmtree(folder)
