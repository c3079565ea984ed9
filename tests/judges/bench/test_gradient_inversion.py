"""A tiny real experiment from config to report: what it writes, what it does not do twice, what it refuses."""

from __future__ import annotations

import csv
import io
import json
import operator
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from attacks.contracts import Reconstruction
from fl_sim.captures import SealedStore
from fl_sim.config import read_toml
from fl_sim.errors import ConfigError, DataError
from fl_sim.records import load_record, save_record
from fl_sim.seeding import attacker_seed
from judges.bench.execution import run_plan
from judges.bench.folder import remove_run
from judges.bench.gradient_inversion.added import attack_run
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.integrity import renew_hashes
from judges.runs.manifest import WRITTEN, read_manifest, write_manifest
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary

RAW: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": {"name": ["lenet", "spiking_lenet"], "timesteps": 2},
    "federation": {"clients": 2},
    "attack": {"name": ["dlg", "idlg"], "iterations": 2, "inner_iterations": 4},
    "judge": "none",
}
FEDERATIONS = ("digits-lenet-uniform", "digits-spiking_lenet-uniform")
CONTROLS = ("control: no-op", "control: black", "control: grey", "control: mean image", "control: class mean")


def quiet() -> Watch:
    return Watch(Console(file=io.StringIO()))


def run(folder: Path, raw: Mapping[str, Any] = RAW, *, fresh: bool = False) -> Path:
    return run_plan(make_plan(dict(raw)), folder, quiet(), fresh=fresh)


def times(folder: Path) -> dict[str, int]:
    """Return when each record was last written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")
            if path.relative_to(folder).parts[0] != "gallery"}  # fmt: skip


def without_seconds(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def rows_of(folder: Path) -> list[tuple[str, str]]:
    return [(row.cell, row.capture_id) for row in read_scores(folder / "scores.csv")]


def expected_rows(names: Sequence[str]) -> set[tuple[str, str]]:
    """Return (cell, capture) of the named attacks and controls, and of the control that each attack has of its own."""
    swapped = [f"control: swapped {name}" for name in names if not name.startswith("control: ")]
    return {
        (f"{label}/{name}", f"{label}-000/r001-c00{client}")
        for label in FEDERATIONS
        for name in (*names, *swapped)
        for client in (0, 1)
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, for reading."""
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    assert run(folder) == folder / "report.html"
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, for changing."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


# One run


ON_REQUEST = {
    "live", "inversions", "observed", "inferences", "answers", "timelines", "figures", "statement.html", "statement.md",
}  # fmt: skip


def test_a_run_writes_what_the_folder_is_said_to_hold(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == set(WRITTEN) - ON_REQUEST
    assert read_toml(finished / "config.toml") == make_plan(RAW).raw
    for label in FEDERATIONS:
        for client in (0, 1):
            leaf = f"{label}-000/r001-c00{client}.safetensors"
            for room in ("captures", "sealed", "reconstructions/dlg", "reconstructions/idlg"):
                assert (finished / room / leaf).is_file()
        assert (finished / "models" / f"{label}-000.safetensors").is_file()
    assert not list(finished.rglob("*.tmp"))


def test_every_victim_has_a_row_for_each_attack_and_each_control(finished: Path) -> None:
    rows = rows_of(finished)
    assert len(rows) == len(set(rows)) == 2 * 2 * (2 + 2 + len(CONTROLS))
    assert set(rows) == expected_rows(["dlg", "idlg", *CONTROLS])
    for row in read_scores(finished / "scores.csv"):
        assert (row.experiment, row.dataset, row.init, row.defence, row.seed, row.repeat) == (
            "tiny", "digits", "uniform", "none", 0, 0,
        )  # fmt: skip
        assert row.cell.startswith(f"digits-{row.model}-uniform/")
        assert (row.seconds == 0.0) is row.is_control
        assert (row.adversary, row.auxiliary) == ("A" if row.attack else "", "")
        assert row.judge_correct is None
        assert row.iterations <= (0 if row.is_control else 2 * 4)


def test_a_swapped_row_has_the_distance_of_the_other_answer(finished: Path) -> None:
    names = [f"{FEDERATIONS[0]}-000/r001-c00{client}" for client in (0, 1)]
    rows = [row for row in read_scores(finished / "scores.csv") if row.control == "swapped"]
    own = {row.capture_id: row for row in rows if row.attack == "idlg" and row.model == "lenet"}
    assert list(own) == names
    for victim, other in (names, names[::-1]):
        truth = SealedStore(finished / "sealed").load(victim)
        (answer,) = finished.glob(f"reconstructions/idlg/{other}.safetensors")
        distance = (load_record(Reconstruction, answer).inputs - truth.inputs).square().mean()
        assert own[victim].mse == pytest.approx(distance.item(), rel=1e-5)
        assert (own[victim].label_recovered, own[victim].gradient_evaluations, own[victim].moved) == (-1, 0, None)
    page = (finished / "report.md").read_text(encoding="utf-8")
    assert "DLG, swapped" in page


def test_both_attacks_have_the_same_victims_and_the_twins_too(finished: Path) -> None:
    victims: dict[str, set[tuple[str, int]]] = {}
    for row in read_scores(finished / "scores.csv"):
        victims.setdefault(row.cell, set()).add((row.capture_id.rpartition("/")[2], row.label))
    assert len(set(map(frozenset, victims.values()))) == 1


def test_the_manifest_and_the_summary_are_of_this_run(finished: Path) -> None:
    manifest, summary = read_manifest(finished), read_summary(finished / "summary.json")
    assert manifest["config_sha256"] == make_plan(RAW).digest
    assert manifest["experiment"] == "tiny"
    assert set(manifest["datasets"]) == {"digits"}
    assert {"federations", "attacks"} <= set(manifest["seconds"])
    assert len(summary.cells) == 2 * (2 + 2 + len(CONTROLS))
    assert all(cell.n == 2 for cell in summary.cells)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "iDLG" in page
    assert "spiking LeNet" in page


def test_progress_is_told_one_line_a_task(folder: Path) -> None:
    told = io.StringIO()
    shutil.rmtree(folder / "reconstructions" / "dlg")
    run_plan(make_plan(RAW), folder, Watch(Console(file=told, width=60)))
    assert told.getvalue().splitlines() == [
        "[1/4] federation digits-lenet-uniform (kept from an earlier call) ...",
        "[2/4] federation digits-spiking_lenet-uniform (kept from an earlier call) ...",
        "[3/4] dlg on digits-lenet-uniform ...",
        "[4/4] dlg on digits-spiking_lenet-uniform ...",
    ]


# The same run again


def test_a_second_call_does_nothing_twice_and_writes_the_same_scores(folder: Path) -> None:
    before, scores = times(folder), (folder / "scores.csv").read_bytes()
    run(folder)
    assert times(folder) == before
    assert (folder / "scores.csv").read_bytes() == scores


def test_results_of_other_versions_are_named_where_they_are_kept(folder: Path) -> None:
    manifest = read_manifest(folder)
    write_manifest(folder, {**manifest, "versions": {**manifest["versions"], "torch": "1.0.1", "gone": "3"}})
    renew_hashes(folder, ["manifest.json"])
    told = io.StringIO()
    run_plan(make_plan(dict(RAW)), folder, Watch(Console(file=told, width=1000)))
    now = manifest["versions"]["torch"]
    assert f"were made with torch 1.0.1 (now {now}), gone 3 (now not installed)." in told.getvalue()
    told.truncate(0)
    run_plan(make_plan(dict(RAW)), folder, Watch(Console(file=told, width=1000)))
    assert "were made with" not in told.getvalue()


def test_the_same_config_in_another_folder_gives_the_same_scores(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "other")
    assert without_seconds(tmp_path / "other") == without_seconds(finished)


def test_another_seed_gives_other_scores(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "other", RAW | {"seed": 1})
    mse = [{(row.cell, row.capture_id, row.mse) for row in read_scores(place / "scores.csv") if not row.is_control}
           for place in (finished, tmp_path / "other")]  # fmt: skip
    assert mse[0].isdisjoint(mse[1])


def test_a_lost_reconstruction_costs_its_cell_and_no_other(folder: Path) -> None:
    lost = folder / "reconstructions" / "idlg" / f"{FEDERATIONS[1]}-000" / "r001-c001.safetensors"
    before, scores = times(folder), without_seconds(folder)
    lost.unlink()
    run(folder)
    after = times(folder)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {path for path in before if f"reconstructions/idlg/{FEDERATIONS[1]}" in path}
    assert without_seconds(folder) == scores


def test_a_lost_model_is_trained_anew_and_the_captures_stay_the_same(folder: Path) -> None:
    model = folder / "models" / f"{FEDERATIONS[0]}-000.safetensors"
    captures = {path: path.read_bytes() for path in (folder / "captures").rglob("*.safetensors")}
    content = model.read_bytes()
    model.unlink()
    run(folder)
    assert model.read_bytes() == content
    assert {path: path.read_bytes() for path in captures} == captures


@pytest.mark.endurance
def test_a_reconstruction_of_other_settings_or_another_seed_is_not_taken_for_ours(folder: Path) -> None:
    """The live attack writes into the same folder."""
    ours = folder / "reconstructions" / "idlg" / f"{FEDERATIONS[0]}-000"
    scores = without_seconds(folder)
    attack_run(folder, ["attack.name=idlg", "attack.iterations=0"], quiet())
    other = folder / "reconstructions" / "idlg-iterations=0" / f"{FEDERATIONS[0]}-000"
    shutil.copytree(other, ours, dirs_exist_ok=True)
    seeded = folder / "reconstructions" / "dlg" / f"{FEDERATIONS[0]}-000" / "r001-c000.safetensors"
    save_record(replace(load_record(Reconstruction, seeded), seed=0), seeded)
    run(folder)
    assert load_record(Reconstruction, ours / "r001-c000.safetensors").settings["iterations"] == 2
    assert load_record(Reconstruction, seeded).seed == attacker_seed(0)
    assert without_seconds(folder)[: len(scores)] == scores


@pytest.mark.endurance
def test_a_corrupt_reconstruction_is_named(folder: Path) -> None:
    path = folder / "reconstructions" / "dlg" / f"{FEDERATIONS[0]}-000" / "r001-c000.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    told = io.StringIO()
    run_plan(make_plan(RAW), folder, Watch(Console(file=told, width=200)))
    assert f"note: {path.relative_to(folder)} has another content" in told.getvalue()
    assert load_record(Reconstruction, path).settings["iterations"] == 2
    path.write_bytes(path.read_bytes()[:100])
    (folder / "files.sha256").unlink()  # as where the run has not finished
    run_plan(make_plan(RAW), folder, Watch(Console(file=told, width=200)))
    assert f"note: {path}: expected a Reconstruction" in told.getvalue()
    assert load_record(Reconstruction, path).settings["iterations"] == 2


# Whose folder it is


def test_another_config_in_the_same_folder_is_refused_and_harms_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"holds another experiment: .* --out, or remove it with --fresh"):
        run(folder, RAW | {"repeats": 2})
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.endurance
def test_a_config_that_adds_cells_goes_on_in_the_same_folder_and_computes_these_only(folder: Path) -> None:
    before, rows = times(folder), without_seconds(folder)
    run(
        folder,
        RAW
        | {
            "attack": {"name": ["dlg", "idlg"], "iterations": 2, "inner_iterations": 4},
            "model": {**RAW["model"], "init": "uniform"},
        },
    )
    assert times(folder) == before
    more = RAW | {"attack": RAW["attack"] | {"name": ["dlg", "idlg", "grnn"], "steps": 2}}
    run(folder, more)
    after = times(folder)
    assert {path: when for path, when in after.items() if path in before} == before
    assert {path.split("/")[1] for path in after.keys() - before.keys()} == {"grnn"}
    assert [row for row in without_seconds(folder) if row["attack"] in ("dlg", "idlg")] == [
        row for row in rows if row["attack"] in ("dlg", "idlg")
    ]
    with pytest.raises(ConfigError, match="its cell 'digits-lenet-uniform/grnn' is not in this config"):
        run(folder)


def test_fresh_removes_what_a_run_wrote_and_nothing_else(folder: Path) -> None:
    (folder.parent / "neighbour").write_text("kept")
    (folder / "notes.txt").write_text("kept")
    before = times(folder)
    raw = RAW | {"model": "lenet", "attack": {"name": "idlg", "iterations": 0}}
    run(folder, raw, fresh=True)
    assert set(times(folder)) == {path for path in before if "spiking" not in path and "dlg/" not in path} | {
        f"reconstructions/idlg/{FEDERATIONS[0]}-000/r001-c00{client}.safetensors" for client in (0, 1)
    }
    assert read_toml(folder / "config.toml") == make_plan(raw).raw
    assert (folder / "notes.txt").read_text() == "kept"
    assert (folder.parent / "neighbour").read_text() == "kept"


@pytest.mark.parametrize("content", ['title = "my website"\n', 'name = "x"\nbaseurl = "y"\n', "no toml"])
def test_fresh_removes_nothing_where_the_config_is_not_ours(tmp_path: Path, content: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "precious").write_text("kept")
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(ConfigError, match="--fresh removes earlier runs only"):
        run(tmp_path, fresh=True)
    assert (tmp_path / "models" / "precious").read_text() == "kept"
    assert (tmp_path / "config.toml").read_text() == content


def test_fresh_follows_no_link(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    for place in (outside, folder):
        place.mkdir()
    (outside / "precious").write_text("kept")
    (folder / "captures").symlink_to(outside)
    (folder / "config.toml").write_text('name = "tiny"\n')
    remove_run(folder)
    assert not list(folder.iterdir())
    assert (outside / "precious").read_text() == "kept"


def test_fresh_where_nothing_is_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    remove_run(tmp_path)
    remove_run(tmp_path / "none")
    assert (tmp_path / "captures").is_dir()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"strategy": {"name": "FedProx", "proximal_nu": 1.0}}, ConfigError, "strategy.proximal_nu"),
        ({"dataset": "mnist"}, DataError, "'mnist' was not found"),
    ],
)
def test_what_is_refused_leaves_the_folder_as_it_was(
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a new folder that then belongs to the wrong config, nor an old run removed for nothing."""
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(error, match=said):
        run(tmp_path / "new", RAW | changes)
    assert not (tmp_path / "new").exists()
    before = times(finished)
    with pytest.raises(error, match=said):
        run(finished, RAW | changes, fresh=True)
    assert times(finished) == before


# Another attack on old captures


def test_another_attack_adds_its_rows_and_leaves_the_others(folder: Path) -> None:
    before, scores = times(folder), (folder / "scores.csv").read_text()
    seconds = read_manifest(folder)["seconds"]
    attack_run(folder, ["attack.name=idlg", "attack.iterations=1", "attack.label_rule=bias"], quiet())
    label = "idlg-iterations=1-label_rule=bias"
    assert (folder / "scores.csv").read_text().startswith(scores)
    assert set(rows_of(folder)) == expected_rows(["dlg", "idlg", *CONTROLS, label])
    after = times(folder)
    assert {path: after[path] for path in before} == before
    assert {path.split("/")[1] for path in set(after) - set(before)} == {label}
    added = [cell for cell in read_summary(folder / "summary.json").cells if cell.cell.endswith(f"/{label}")]
    assert [cell.attack_settings for cell in added] == [{"iterations": 1, "label_rule": "bias"}] * 2
    assert "iDLG (iterations=1, label rule=bias)" in (folder / "report.md").read_text(encoding="utf-8")
    manifest = read_manifest(folder)
    assert manifest["config_sha256"] == make_plan(RAW).digest
    assert manifest["seconds"]["federations"] == seconds["federations"]
    assert read_toml(folder / "config.toml") == make_plan(RAW).raw
    assert list(manifest["added"]) == [f"{federation}/{label}" for federation in FEDERATIONS]


@pytest.mark.endurance
def test_what_an_attack_added_stays_when_the_run_is_called_again(folder: Path) -> None:
    attack_run(folder, ["attack=dlg", "attack.iterations=0"], quiet())
    scores = (folder / "scores.csv").read_bytes()
    assert b"dlg-iterations=0" in scores
    run(folder)
    assert (folder / "scores.csv").read_bytes() == scores
    attack_run(folder, ["attack=dlg", "attack.iterations=0"], quiet())
    assert (folder / "scores.csv").read_bytes() == scores


@pytest.mark.endurance
def test_the_control_and_the_failure_of_an_added_attack_stay_when_the_run_is_called_again(folder: Path) -> None:
    attack_run(folder, ["attack.name=idlg", "attack.guess=uniform"], quiet())
    before = without_seconds(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    lost = "digits-lenet-uniform/lost"
    manifest |= {"failed": {lost: "not enough memory"}, "added": {**manifest["added"], lost: {}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    renew_hashes(folder, ["manifest.json"])
    run(folder)
    key = operator.itemgetter("cell", "capture_id", "attack")
    assert sorted(without_seconds(folder), key=key) == sorted(before, key=key)
    assert read_manifest(folder)["failed"] == {lost: "not enough memory"}


@pytest.mark.parametrize("assignment", ["seed=1", "model=lenet", "repeats=2", "judge=lenet", "federation.clients=3"])
def test_another_attack_may_change_nothing_else(folder: Path, assignment: str) -> None:
    scores = (folder / "scores.csv").read_bytes()
    with pytest.raises(ConfigError, match="only attack settings can change"):
        attack_run(folder, ["attack.name=idlg", assignment], quiet())
    assert (folder / "scores.csv").read_bytes() == scores


def test_the_runs_own_attack_asked_for_again_changes_nothing(folder: Path) -> None:
    scores = (folder / "scores.csv").read_bytes()
    attack_run(folder, ["attack.name=idlg"], quiet())
    assert sorted((folder / "scores.csv").read_bytes().splitlines()) == sorted(scores.splitlines())
    assert "added" not in read_manifest(folder)


@pytest.mark.endurance
def test_a_new_kind_of_guess_brings_its_own_control(folder: Path) -> None:
    attack_run(folder, ["attack=idlg", "attack.guess=uniform"], quiet())
    label, control = "idlg-guess=uniform", "control: no-op (uniform)"
    assert set(rows_of(folder)) == expected_rows(["dlg", "idlg", *CONTROLS, label, control])


def test_another_attack_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the folder of a run, found no config\.toml"):
        attack_run(tmp_path, ["attack.name=idlg"], quiet())


# The judge


@pytest.mark.endurance
def test_the_judge_is_trained_once_and_answers_in_every_row(folder: Path, cache: Path) -> None:
    raw = RAW | {"judge": {"name": "lenet", "max_epochs": 1}}
    (folder / "config.toml").unlink()
    run(folder, raw)
    judges = list(cache.rglob("*.safetensors"))
    assert len(judges) == 1
    scores, trained = (folder / "scores.csv").read_bytes(), judges[0].stat().st_mtime_ns
    for row in read_scores(folder / "scores.csv"):
        assert row.judge_label in range(10)
        assert row.judge_confidence is not None
        assert 0.1 <= row.judge_confidence <= 1.0
        assert row.judge_correct is (row.judge_label == row.label and not row.diverged)
    facts = read_summary(folder / "summary.json").judges["digits"]
    assert 0.5 < float(facts["accuracy"]) < 1.0
    run(folder, raw)
    assert (folder / "scores.csv").read_bytes() == scores
    assert judges[0].stat().st_mtime_ns == trained
    assert json.loads((folder / "manifest.json").read_text())["config_sha256"] == make_plan(raw).digest
