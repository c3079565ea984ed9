"""A tiny real experiment of model inversion: what it writes, what it does not do twice, what it says."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from attacks.contracts import Inversion
from fl_sim.config import read_toml
from fl_sim.errors import ConfigError
from fl_sim.records import TrainedModel, load_record
from judges.bench.execution import run_plan
from judges.bench.folder import remove_run
from judges.plans.model_inversion import make_inversion_plan
from judges.progress import Watch
from judges.runs.manifest import WRITTEN, read_manifest
from judges.runs.pictures import ANSWER, NEAREST, TRUTH, load_pictures
from judges.runs.rows.classes import ClassScore
from judges.runs.tables import read_rows
from judges.summaries.model_inversion import read_inversions

RAW: dict[str, Any] = {
    "task": "model_inversion",
    "name": "tiny",
    "dataset": {"name": "digits", "size": 16},
    "model": {"name": ["mlp", "spiking_mlp"], "hidden": 24, "timesteps": 4},
    "training": {"epochs": 1, "learning_rate": 0.002},
    "attack": {"iterations": 3},
    "attack_repeats": 2,
    "draws": 6,
    "judge": {"max_epochs": 1, "max_examples": 200},
}
FEDERATED: dict[str, Any] = {
    **{key: value for key, value in RAW.items() if key != "training"},
    "target": "federation",
    "strategy": "FedAvg",
    "federation": {"clients": 2, "rounds": 2, "keep_every": 1, "local_steps": 2, "batch_size": 10},
    "attack": {"name": ["mi_face", "brainleaks_v2"], "iterations": 3},
}


def run(folder: Path, raw: Mapping[str, Any] = RAW, *, fresh: bool = False, told: io.StringIO | None = None) -> Path:
    return run_plan(make_inversion_plan(dict(raw)), folder, Watch(Console(file=told or io.StringIO())), fresh=fresh)


def rows_of(folder: Path) -> list[ClassScore]:
    return read_rows(ClassScore, folder / "scores.csv")


def times(folder: Path) -> dict[str, int]:
    """Return when each answer, judgement and model was last written."""
    paths = (path for part in ("inversions", "models") for path in (folder / part).rglob("*.*"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, for reading."""
    folder = tmp_path_factory.mktemp("inversion") / "tiny"
    assert run(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inversion") / "federated"
    run(folder, FEDERATED)
    return folder


def test_every_class_of_every_attack_and_control_has_its_row(finished: Path) -> None:
    counted: dict[str, int] = {}
    for row in rows_of(finished):
        counted[row.cell] = counted.get(row.cell, 0) + 1
    ann, snn = "digits-mlp-torch", "digits-spiking_mlp-torch"
    assert counted == {
        f"{ann}/mi_face": 10,  # nothing is drawn, so one attack says it all
        f"{ann}/control: shuffled mi_face": 10,
        f"{ann}/control: class mean": 20,
        f"{ann}/control: real examples": 20,
        f"{snn}/brainleaks_v1": 20,
        f"{snn}/brainleaks_v2": 20,
        f"{snn}/control: shuffled brainleaks_v1": 20,
        f"{snn}/control: shuffled brainleaks_v2": 20,
        f"{snn}/control: class mean": 20,
        f"{snn}/control: real examples": 20,
    }


def test_the_summary_is_of_the_rows_and_draws_are_of_attacks_that_draw(finished: Path) -> None:
    summary, rows = read_inversions(finished / "summary.json"), rows_of(finished)
    for cell in summary.cells:
        own = [row for row in rows if row.cell == cell.cell]
        assert cell.scores.mean.attack_accuracy == pytest.approx(sum(row.rank == 1 for row in own) / len(own))
        assert cell.scores.mean.confidence == pytest.approx(sum(row.confidence for row in own) / len(own))
        assert (cell.draws is not None) == (cell.attack == "brainleaks_v2" and not cell.is_control)
        assert cell.draws is None or cell.draws.count == 6
        assert cell.published is None
    targets = {target.model: target for target in summary.targets}
    for path in (finished / "models").iterdir():
        model = load_record(TrainedModel, path)
        assert targets[model.model.architecture].accuracy == model.test_accuracy
    assert set(summary.judges) == {"digits brainleaks_cnn", "digits brainleaks_snn"}


def test_answers_and_pictures_are_kept(finished: Path) -> None:
    answers = sorted((finished / "inversions").rglob("*.safetensors"))
    assert len(answers) == 5
    assert all(path.with_suffix(".json").is_file() for path in answers)
    albums = {album.cell: album for album in load_pictures(finished / "gallery")}
    assert len(albums) == 3
    shown = albums["digits-spiking_mlp-torch/brainleaks_v2"]
    answer = load_record(Inversion, finished / "inversions/digits-spiking_mlp-torch-000/brainleaks_v2-000.safetensors")
    assert shown.images[ANSWER].equal(answer.inputs.mean(0))
    assert shown.spikes.equal(answer.inputs[:, 3].to(shown.spikes.dtype))
    assert {kind: shown.images[kind].shape for kind in (TRUTH, ANSWER, NEAREST)} == dict.fromkeys(
        (TRUTH, ANSWER, NEAREST), (10, 1, 16, 16)
    )


def test_what_is_finished_is_not_done_again_and_what_is_lost_is(finished: Path) -> None:
    before, rows = times(finished), rows_of(finished)
    told = io.StringIO()
    run(finished, told=told)
    assert times(finished) == before
    assert rows_of(finished) == rows
    assert "brainleaks_v2 on" not in told.getvalue().replace("judging brainleaks_v2 on", "")

    lost = finished / "inversions/digits-spiking_mlp-torch-000/brainleaks_v2-001.safetensors"
    lost.unlink()
    run(finished)
    assert {path for path, when in times(finished).items() if before[path] != when} == {
        str(lost.relative_to(finished))
    } | {str(lost.with_suffix(".json").relative_to(finished))}
    again = [dataclasses.replace(row, seconds=0.0) for row in rows_of(finished)]
    assert again == [dataclasses.replace(row, seconds=0.0) for row in rows]


def test_a_damaged_judgement_is_made_anew(finished: Path) -> None:
    rows = rows_of(finished)
    path = finished / "inversions/digits-mlp-torch-000/mi_face-000.json"
    told = json.loads(path.read_text())
    path.write_text(path.read_text()[:100])
    run(finished)
    assert json.loads(path.read_text()) == told
    forged = json.loads(path.read_text())
    forged["judgement"]["rows"][0]["rank"] += 7  # which its checksum tells
    path.write_text(json.dumps(forged))
    run(finished)
    assert json.loads(path.read_text()) == told
    assert rows_of(finished) == rows


def test_another_experiment_is_refused_and_only_what_a_run_wrote_is_removed(finished: Path) -> None:
    with pytest.raises(ConfigError, match="holds another experiment"):
        run(finished, {**RAW, "draws": 7})
    assert read_toml(finished / "config.toml") == make_inversion_plan(RAW).raw
    (finished / "notes.txt").write_text("mine")
    remove_run(finished)
    assert [path.name for path in finished.iterdir()] == ["notes.txt"]
    assert "inversions" in WRITTEN
    run(finished)


def test_the_manifest_says_how_the_targets_were_trained(finished: Path) -> None:
    manifest = read_manifest(finished)
    told = manifest["targets"]["digits-spiking_mlp-torch"]
    assert told["training"]["epochs"] == 1
    assert (told["model"]["timesteps"], told["model"]["reset_order"]) == (4, "before_decay")
    assert manifest["datasets"]["digits"]["people"] is False


def test_targets_of_other_seeds_are_other_targets(tmp_path: Path) -> None:
    run(tmp_path / "r", {**RAW, "model": {"name": "mlp", "hidden": 24}, "repeats": 2, "seed": 3})
    summary = read_inversions(tmp_path / "r" / "summary.json")
    (target,) = summary.targets
    assert target.seeds == 2
    (attack,) = [cell for cell in summary.cells if not cell.control]
    assert (attack.targets, attack.repeats, attack.scores.count) == (2, 1, 2)
    assert {row.target_seed for row in rows_of(tmp_path / "r")} == {3, 4}


def test_the_global_model_of_every_kept_round_is_attacked(federated: Path) -> None:
    summary = read_inversions(federated / "summary.json")
    attacks = [(cell.model, cell.attack, cell.round) for cell in summary.cells if not cell.control]
    assert attacks == [
        *(("mlp", "mi_face", number) for number in range(3)),
        *(("spiking_mlp", "brainleaks_v2", number) for number in range(3)),
    ]
    assert {target.source for target in summary.targets} == {"federation"}
    models = [
        load_record(Inversion, path).model_id for path in (federated / "inversions").rglob("mi_face-000.safetensors")
    ]
    assert len(set(models)) == 3
    controls = {(row.round, row.rank, row.label) for row in rows_of(federated) if row.control == "class mean"}
    assert {number for number, _, _ in controls} == {0, 1, 2}


def test_the_federation_is_not_run_twice(federated: Path) -> None:
    before, seconds = times(federated), read_manifest(federated)["seconds"]
    run(federated, FEDERATED)
    assert times(federated) == before
    after = read_manifest(federated)["seconds"]
    assert after["federation digits-mlp-torch-000"] == seconds["federation digits-mlp-torch-000"] > 0
