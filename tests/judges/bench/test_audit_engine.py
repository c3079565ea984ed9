"""An audit has the engine of a run: workers, resuming after a kill, smaller pieces, judges, all controls, events."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from attacks.contracts import Reconstruction
from attacks.idlg import IDLG
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.errors import ConfigError
from fl_sim.records import ModelSpec, load_record
from fl_sim.specs import SpikingSpec
from judges.cli import app
from judges.plans.audit import read_audit
from judges.report.gradient_inversion.tables_record import record_groups
from judges.runs.integrity import verify
from judges.runs.manifest import manifest_so_far
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests import programs
from tests.judges.bench.test_audit import SPEC, audit, leave_captures
from tests.judges.bench.test_engines import answers, results
from tests.judges.bench.test_gradient_inversion import run

TWO_GUESSES = (
    "attack=idlg", "attack.guess=normal,spikes", "attack.iterations=0", "attack.thresholding=post_optimisation",
    "attack.tau=0.5",
)  # fmt: skip


@pytest.mark.endurance
def test_an_attack_that_takes_no_step_equals_its_own_guess_and_not_another_attacks(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    audit(tmp_path, *TWO_GUESSES)
    summary = read_summary(tmp_path / "summary.json")
    attacks = [cell for cell in summary.cells if not cell.is_control]
    assert [cell.attack_settings for cell in attacks] == [{"guess": "normal"}, {"guess": "spikes"}]
    assert attacks[0].l2.mean != attacks[1].l2.mean
    assert [(cell.control, cell.attack, cell.guess) for cell in summary.cells if cell.control == "no-op"] == [
        ("no-op", "", "spikes"),
        ("no-op", "", "normal"),
    ]
    rows = [row for group in record_groups(summary) for row in group.rows if not row.cell.is_control]
    assert [row.cell for row in rows] == attacks
    for row in rows:
        assert row.verdict.startswith("equals guess")
        assert f"thresholded guess {row.cell.l2.mean:.2f}" in row.reason
    sentence = "within 1 % of that of the thresholded guess with zero steps in 2 of 2 rows (tau 0.5)"
    assert sentence in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.endurance
def test_a_run_and_an_audit_of_its_captures_have_the_same_numbers(tmp_path: Path) -> None:
    run(tmp_path / "run")
    (tmp_path / "audit").mkdir()
    for name in ("captures", "sealed"):
        (tmp_path / "run" / name).rename(tmp_path / "audit" / name)
    audit(tmp_path / "audit", "attack=dlg,idlg", "attack.iterations=2", "attack.inner_iterations=4", "chunk=2")
    kinds = ("", "no-op", "black", "grey")
    numbers = [
        sorted(
            (row.capture_id, row.control, row.attack, row.guess, row.ssim, row.mse, row.l2, row.moved or 0.0)
            for row in read_scores(tmp_path / name / "scores.csv")
            if row.control in kinds
        )
        for name in ("run", "audit")
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.endurance
def test_two_workers_give_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    one, two = (tmp_path / name / "mine" for name in ("one", "two"))
    for folder in (one, two):
        leave_captures(folder, sealed=2, count=4)
    settings = ("attack=dlg,idlg", "attack.iterations=3", "chunk=2")
    audit(one, *settings)
    audit(two, *settings, workers=2)
    assert results(one) == results(two)
    ours, theirs = answers(one), answers(two)
    assert len(ours) == 8
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert verify(two).is_sound


@pytest.mark.endurance
def test_an_audit_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = ("attack=idlg", "attack.iterations=20", "attack.tolerance_change=0.0,1e-12", "chunk=1")
    calm, killed = (tmp_path / name / "mine" for name in ("calm", "killed"))
    for folder in (calm, killed):
        leave_captures(folder, sealed=3)
    audit(calm, *settings)
    flags, kept = [part for text in (*settings, "checks=0") for part in ("--set", text)], killed / "reconstructions"
    process = programs.start(programs.COMMAND, "audit", killed, "--quiet", *flags)
    while process.is_alive() and len(list(kept.rglob("*.safetensors"))) < 2:
        time.sleep(0.01)
    process.kill()
    process.join()
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")}
    assert 2 <= len(before) < 6
    audit(killed, *settings)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results(killed) == results(calm)
    assert verify(killed).is_sound


@pytest.mark.endurance
def test_other_captures_or_another_attack_do_not_go_on(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    audit(tmp_path, "attack.iterations=2")
    (path,) = (tmp_path / "reconstructions").rglob("*.safetensors")
    first = path.stat().st_mtime_ns
    audit(tmp_path, "attack.iterations=2")
    assert path.stat().st_mtime_ns == first
    leave_captures(tmp_path, sealed=2, count=2)
    audit(tmp_path, "attack.iterations=2")
    assert path.stat().st_mtime_ns > first
    audit(tmp_path, "attack=dlg", "attack.iterations=2")
    assert {found.name for found in (tmp_path / "reconstructions").iterdir()} == {"dlg"}


@pytest.mark.endurance
def test_where_memory_lacks_it_is_cut_and_then_a_cell_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruct = IDLG.reconstruct

    def hungry(self: IDLG, captures: Any, **more: Any) -> list[Reconstruction]:
        if len(captures) > 1 or self.settings.iterations == 3:
            raise MemoryError
        return reconstruct(self, captures, **more)

    leave_captures(tmp_path, sealed=2, count=2)
    monkeypatch.setattr(IDLG, "reconstruct", hungry)
    done = CliRunner().invoke(app, ["audit", str(tmp_path), "--set", "attack=idlg", "--set", "attack.iterations=2,3"])
    assert done.exit_code == 4
    manifest = manifest_so_far(tmp_path)
    assert manifest["pieces"] == {"lenet/idlg-iterations=2": 2}
    assert list(manifest["failed"]) == ["lenet/idlg-iterations=3"]
    (check,) = read_summary(tmp_path / "summary.json").checks
    assert (check.cell, len(check.victims), check.failure) == ("lenet/idlg-iterations=2", 2, "")
    cells = {row.cell for row in read_scores(tmp_path / "scores.csv") if not row.is_control}
    assert cells == {"lenet/idlg-iterations=2"}
    assert "Not computed" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.endurance
def test_a_named_data_set_brings_its_judge_and_the_controls_of_means(tmp_path: Path, cache: Path) -> None:
    run(tmp_path / "run")
    (tmp_path / "audit").mkdir()
    for name in ("captures", "sealed"):
        (tmp_path / "run" / name).rename(tmp_path / "audit" / name)
    settings = ("attack.iterations=1", "dataset=digits", "dataset.size=12", "class_distances=20")
    audit(tmp_path / "audit", *settings, "judge=lenet", "judge.max_epochs=1")
    rows = read_scores(tmp_path / "audit" / "scores.csv")
    assert {row.control for row in rows} == {"", "no-op", "swapped", "black", "grey", "mean image", "class mean"}
    assert {row.dataset for row in rows} == {"digits"}
    assert {row.model for row in rows} == {"lenet", "spiking_lenet"}
    assert all(row.judge_correct is not None for row in rows)
    assert set(read_summary(tmp_path / "audit" / "summary.json").distances) == {"digits"}
    with pytest.raises(ConfigError, match=r"dataset.name: inputs of digits are \(1, 8, 8\)"):
        audit(tmp_path / "audit", "dataset=digits", "dataset.size=8")


def test_a_judge_needs_a_data_set() -> None:
    with pytest.raises(ConfigError, match="--set dataset=NAME"):
        read_audit(["judge=lenet"])


@pytest.mark.endurance
def test_models_of_one_architecture_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for steps, name in ((2, "first"), (3, "second")):
        spec = ModelSpec("spiking_lenet", SPEC.input, spiking=SpikingSpec(timesteps=steps))
        leave_captures(tmp_path / name, sealed=1, count=1, spec=spec)
        for room in ("captures", "sealed"):
            (tmp_path / "both" / room).mkdir(parents=True, exist_ok=True)
        capture = CaptureStore(tmp_path / name / "captures").load("mine/r001-c000")
        truth = SealedStore(tmp_path / name / "sealed").load("mine/r001-c000")
        CaptureStore(tmp_path / "both" / "captures")(replace(capture, id=f"{name}/r001-c000"))
        SealedStore(tmp_path / "both" / "sealed")(replace(truth, capture_id=f"{name}/r001-c000"))
    audit(tmp_path / "both", "attack.iterations=0")
    rows = [row for row in read_scores(tmp_path / "both" / "scores.csv") if not row.is_control]
    assert [(row.cell, row.model, row.varied, row.timesteps) for row in rows] == [
        ("spiking_lenet-timesteps=2/idlg", "spiking_lenet", {"timesteps": 2}, 2),
        ("spiking_lenet-timesteps=3/idlg", "spiking_lenet", {"timesteps": 3}, 3),
    ]


@pytest.mark.endurance
def test_events_and_quiet_are_those_of_a_run(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    arguments = ["audit", str(tmp_path), "--set", "attack=idlg", "--set", "attack.iterations=1", "--set", "checks=0"]
    told = CliRunner().invoke(app, [*arguments, "--events", "jsonl"])
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert (events[0]["event"], events[0]["task"]) == ("start", "idlg on lenet")
    assert (events[-1]["event"], events[-1]["task"]) == ("report", str((tmp_path / "report.html").resolve()))
    quiet = CliRunner().invoke(app, [*arguments, "--quiet"])
    assert (quiet.exit_code, quiet.output) == (0, "")


@pytest.mark.endurance
def test_the_seal_is_opened_for_scores_only(tmp_path: Path) -> None:
    """The answers are the same whether the truth is there or not."""
    for name, sealed in (("open", 2), ("sealed", 0)):
        leave_captures(tmp_path / name, sealed=sealed, count=2)
        audit(tmp_path / name, "attack.iterations=2")
    ours, theirs = answers(tmp_path / "open"), answers(tmp_path / "sealed")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not SealedStore(tmp_path / "sealed" / "sealed").ids()
    path = next((tmp_path / "open" / "reconstructions").rglob("*.safetensors"))
    assert load_record(Reconstruction, path).capture_id == "mine/r001-c000"
