"""Tiny real experiments of membership inference: what is told, what is not done twice, what the pages say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from attacks.contracts import MembershipScores
from fl_sim.errors import ConfigError
from fl_sim.records import load_record
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import run_plan
from judges.bench.membership.forecast import forecast_memberships
from judges.cli.deep import rows_again
from judges.export.cells import read_export
from judges.kinds import kind_in
from judges.plans.membership import make_membership_plan
from judges.progress import Watch
from judges.runs.integrity import verify
from judges.runs.rows.membership import CLIENT, NULL, RANDOM, MembershipScore
from judges.runs.tables import read_rows
from judges.summaries.membership import MEMBERS_TOLD, MembershipSummary, read_memberships

pytestmark = pytest.mark.endurance

OVERFITTED: dict[str, Any] = {
    "task": "membership",
    "name": "overfitted",
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": 64},
    "training": {"epochs": 60, "learning_rate": 0.01},
    "attack": {"name": "loss_threshold"},
    "candidates": 100,
}
"""50 of 100 digits train a network of 64 hidden units for 60 epochs."""

STATED: dict[str, Any] = {
    **OVERFITTED,
    "name": "stated",
    "training": {"epochs": 30, "learning_rate": 0.02},
    "candidates": 400,
    "attack": {"name": ["loss_threshold", "lira"], "mode": "online", "shadows": 8},
}
"""200 of 400 digits train a network of 64 hidden units for 30 epochs."""

FEDERATED: dict[str, Any] = {
    "task": "membership",
    "name": "federated",
    "target": "federation",
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": 16},
    "training": {"epochs": 1},
    "strategy": "FedAvg",
    "federation": {"clients": 2, "rounds": 2, "batch_size": 12, "local_steps": 2},
    "attack": {"name": ["loss_threshold", "rmia", "gradient_cosine"], "shadows": 4},
    "candidates": 100,
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKELEAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(folder: Path, raw: Mapping[str, Any], options: EngineOptions | None = None) -> Path:
    return run_plan(make_membership_plan(dict(raw)), folder, Watch.silent(), options=options)


def cells_of(folder: Path) -> dict[str, MembershipSummary]:
    return {cell.cell: cell for cell in read_memberships(folder / "summary.json").cells}


def times(folder: Path) -> dict[str, int]:
    paths = (path for room in ("observed", "inferences") for path in (folder / room).rglob("*.*"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, for reading."""
    folder = tmp_path_factory.mktemp("membership") / "stated"
    assert run(folder, STATED) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("membership") / "federated"
    run(folder, FEDERATED)
    return folder


def test_members_of_an_overfitted_network_are_told_and_those_of_another_are_not(tmp_path: Path) -> None:
    run(tmp_path / "run", OVERFITTED)
    cells = cells_of(tmp_path / "run")
    attack = cells["digits-mlp-torch/loss_threshold"]
    assert attack.auc.mean >= 0.8
    assert attack.train_accuracy == 1.0
    assert attack.verdict == MEMBERS_TOLD
    for control in (RANDOM, f"{NULL} loss_threshold"):
        area = cells[f"digits-mlp-torch/control: {control}"].auc
        assert area.low < 0.5 < area.high
    assert attack.null == cells[f"digits-mlp-torch/control: {NULL} loss_threshold"].auc


def test_shadow_models_tell_more_at_one_per_cent_of_false_positives(stated: Path) -> None:
    loss, lira = (cells_of(stated)[f"digits-mlp-torch/{name}"].caught_1 for name in ("loss_threshold", "lira"))
    assert loss is not None
    assert lira is not None
    assert lira.share > loss.share
    assert lira.low > loss.share


def test_what_is_finished_is_not_done_again_and_what_is_lost_is_the_same_again(stated: Path) -> None:
    before, rows = times(stated), read_rows(MembershipScore, stated / "scores.csv")
    lost = stated / "inferences" / "digits-mlp-torch-000" / "lira.safetensors"
    scores = load_record(MembershipScores, lost).scores
    run(stated, STATED)
    assert times(stated) == before
    lost.unlink()
    run(stated, STATED)
    assert {path for path, when in times(stated).items() if before[path] != when} == {str(lost.relative_to(stated))}
    assert load_record(MembershipScores, lost).scores.equal(scores)
    again = read_rows(MembershipScore, stated / "scores.csv")
    assert [(row.cell, row.auc, row.caught_1) for row in again] == [(row.cell, row.auc, row.caught_1) for row in rows]


def test_the_rows_follow_from_the_answers_and_every_file_is_listed(stated: Path) -> None:
    assert verify(stated).is_sound
    assert rows_again(stated).is_equal


def test_the_pages_answer_first_and_name_the_threat(stated: Path) -> None:
    page = (stated / "report.html").read_text("utf-8")
    cell = cells_of(stated)["digits-mlp-torch/lira"]
    assert "can be told better than by chance" in page
    assert f"{cell.auc.mean:.3f}" in page
    assert "at least 1,000 others" in page
    assert "ROC, digits" in page
    assert f"{cell.auc.mean:.3f}" in (stated / "report.md").read_text("utf-8")
    kind_in(stated).part("statement")(stated)
    told = (stated / "statement.md").read_text("utf-8")
    assert "Threat: membership inference" in told
    assert "fewer than 1,000 others" in told
    for name in ("statement.md", "statement.html"):
        (stated / name).unlink()


def test_other_tools_get_its_numbers(stated: Path) -> None:
    cell = cells_of(stated)["digits-mlp-torch/lira"]
    (exported,) = (one for one in read_export(stated).cells if one.name == cell.cell)
    assert exported.numbers["auc"] == cell.auc.mean
    assert exported.settings["attack.shadows"] == 8
    assert exported.settings["candidates"] == 400


def test_a_forecast_says_what_is_trained_and_what_cannot_be_told(stated: Path, tmp_path: Path) -> None:
    facts = dict(forecast_memberships(make_membership_plan(dict(STATED)), tmp_path / "new"))
    assert facts["target digits-mlp-torch"].startswith("1 target and as many that never see a candidate, 8 shadow")
    assert "10 of 10 in the cache" in facts["target digits-mlp-torch"]
    assert "1,000 others" in facts["candidates"]
    assert facts["time"].startswith("nothing is left to train; attacks come on top")
    other = dict(forecast_memberships(make_membership_plan({**STATED, "training": {"epochs": 7}}), tmp_path / "new"))
    assert "of one core for the trainings" in other["time"]
    assert not (tmp_path / "new").exists()


def test_global_models_and_updates_of_a_federation_are_attacked(federated: Path) -> None:
    rows = read_rows(MembershipScore, federated / "scores.csv")
    attacked = {(row.source, row.round, row.client) for row in rows if not row.control}
    assert attacked == {("federation", 1, -1), ("federation", 2, -1)} | {
        (CLIENT, number, client) for number in (1, 2) for client in (0, 1)
    }
    assert {row.attack for row in rows if not row.control} == {"loss_threshold", "rmia", "gradient_cosine"}
    updates = [row for row in rows if row.source == CLIENT and row.attack == "gradient_cosine"]
    assert all(20 <= row.members <= 24 and row.non_members == 50 for row in updates)  # batches may share an example
    assert {row.round for row in rows if row.control == NULL} == {2}
    assert rows_again(federated).is_equal


def test_an_update_gives_its_examples_away(federated: Path) -> None:
    cells = cells_of(federated)
    cosine = cells["digits-mlp-torch@r001-clients/gradient_cosine"]
    assert cosine.units == 2
    assert cosine.auc.low > 0.5
    assert cosine.null is not None
    assert cosine.null.low < 0.5 < cosine.null.high


def test_two_workers_give_the_same_rows(stated: Path, tmp_path: Path) -> None:
    run(tmp_path / "workers", STATED, EngineOptions(workers=2))
    rows = [read_rows(MembershipScore, folder / "scores.csv") for folder in (stated, tmp_path / "workers")]
    assert [(row.cell, row.auc, row.curve) for row in rows[0]] == [(row.cell, row.auc, row.curve) for row in rows[1]]


def test_isolation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--isolate"):
        run(tmp_path / "run", OVERFITTED, EngineOptions(isolate=True))
