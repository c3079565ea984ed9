"""An experiment whose axis is the defence: the grid runs, and rows, summary and names say which."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.defences.accounting import epsilon_of
from judges.bench.execution import run_plan
from judges.export.cells import read_export
from judges.plans.gradient_inversion import make_plan
from judges.plans.model_inversion import make_inversion_plan
from judges.progress import Watch
from judges.report.gradient_inversion.statement import write_attack_statement
from judges.runs.names import defence_key
from judges.runs.rows import Score, read_scores
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.verdicts import NOTHING, RECOVERED

pytestmark = pytest.mark.endurance
TOLD = {
    "none": "digits-lenet-uniform-none",
    "clip": "digits-lenet-uniform-clip",
    "noise": "digits-lenet-uniform-noise",
    "quantise bits=2": "digits-lenet-uniform-quantise-bits=2",
    "quantise bits=12": "digits-lenet-uniform-quantise-bits=12",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of iDLG on one client of each defence."""
    made = tmp_path_factory.mktemp("run")
    raw = {
        "name": "defended",
        "judge": "none",
        "dataset": {"name": "digits", "split": "test"},
        "defence": {
            "name": ["none", "clip", "noise", "quantise"],
            "clipping_norm": 32.0,
            "noise_multiplier": 1.0,
            "bits": [2, 12],
        },
        "federation": {"clients": 1},
        "attack": {"name": "idlg", "guess": "uniform", "iterations": 15, "label_rule": "bias"},
    }
    run_plan(make_plan(raw), made, Watch())
    return made


def attacked(folder: Path) -> dict[str, Score]:
    rows = [row for row in read_scores(folder / "scores.csv") if not row.is_control]
    named = {defence_key(row): row for row in rows}
    assert len(rows) == len(named)
    return named


def test_every_row_says_which_defence_it_is_of(folder: Path) -> None:
    rows = attacked(folder)
    assert {defence: row.cell for defence, row in rows.items()} == {
        defence: f"{label}/idlg" for defence, label in TOLD.items()
    }
    assert {row.model for row in rows.values()} == {"lenet"}
    controls = [row for row in read_scores(folder / "scores.csv") if row.is_control]
    assert {defence_key(row) for row in controls} == set(TOLD)


def test_the_summary_keeps_defences_apart(folder: Path) -> None:
    groups = {cell.group for cell in read_summary(folder / "summary.json").cells if not cell.is_control}
    assert {(group.defence, group.defence_settings) for group in groups} == {
        ("none", ()), ("clip", ()), ("noise", ()), ("quantise", (("bits", 2),)), ("quantise", (("bits", 12),)),
    }  # fmt: skip


def test_what_was_sealed_names_the_defence_and_all_attack_the_same_batch(folder: Path) -> None:
    batches = {batch.capture_id.partition("/")[0]: batch for batch in SealedStore(folder / "sealed")}
    assert {name: batch.defence for name, batch in batches.items()} == {
        f"{label}-000": defence.partition(" ")[0] for defence, label in TOLD.items()
    }
    first, *others = batches.values()
    assert all(batch.inputs.equal(first.inputs) for batch in others)


def test_what_an_undefended_client_leaks_a_strong_defence_keeps(folder: Path) -> None:
    """A norm of 32 is above that of any gradient here, so clipping to it changes nothing at all."""
    rows, captures = attacked(folder), CaptureStore(folder / "captures")
    plain, clipped = (captures.load(f"{TOLD[name]}-000/r001-c000").update for name in ("none", "clip"))
    assert all(clipped[name].equal(tensor) for name, tensor in plain.items())
    assert rows["none"].similarity > 0.99
    assert rows["clip"].similarity > 0.99
    assert rows["quantise bits=12"].similarity > 0.9
    assert rows["quantise bits=2"].similarity < 0.9
    assert rows["noise"].similarity < 0.5


def test_what_the_defence_claims_is_in_rows_report_statement_and_export(folder: Path) -> None:
    rows = {(defence_key(row), row.epsilon, row.delta, row.privacy_unit) for row in read_scores(folder / "scores.csv")}
    epsilon = epsilon_of("rdp", noise_multiplier=0.5, sampling_rate=1.0, releases=1, delta=1e-5)
    assert ("noise", epsilon, 1e-5, "client") in rows
    assert {key for key, found, _, _ in rows if found is not None} == {"noise"}
    summary = read_summary(folder / "summary.json")
    assert [(one.by, one.epsilon) for one in summary.claims] == [
        ("clip", None), ("noise", epsilon), ("quantise", None), ("quantise", None)
    ]  # fmt: skip
    report = (folder / "report.md").read_text()
    assert "## What the defence claims" in report
    assert "| clipping and noise | against the server | 10.7 | 1e\N{MINUS SIGN}5 | all that a client shares |" in report
    assert "It adds no noise, so there is no finite epsilon" in report
    write_attack_statement(folder)
    statement = (folder / "statement.md").read_text()
    assert "epsilon 10.7 at delta 1e\N{MINUS SIGN}5 for all that a client shares" in statement
    told = {cell.settings["defence"]: cell.settings for cell in read_export(folder).cells}
    assert (told["noise"]["claim.epsilon"], told["noise"]["claim.unit"]) == (epsilon, "client")
    assert "claim.epsilon" not in told["clip"]
    assert "no finite epsilon" in str(told["clip"]["claim.reason"])


def test_a_clipped_update_is_recovered_by_its_direction_and_one_with_noise_of_a_small_epsilon_is_not(
    tmp_path: Path,
) -> None:
    """The example of the README."""
    raw = {
        "name": "measured",
        "judge": "none",
        "dataset": {"name": "digits", "split": "test"},
        "defence": {"name": ["clip", "noise"], "clipping_norm": 1.0, "noise_multiplier": 1.1},
        "federation": {"clients": 5},
        "attack": {"name": "inverting_gradients", "steps": 400},
    }
    run_plan(make_plan(raw), tmp_path, Watch())
    cells = {cell.defence: cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.is_control}
    assert cells["clip"].verdict == RECOVERED
    assert cells["noise"].verdict == NOTHING
    assert "the defence's noise gives epsilon 9.5" in cells["noise"].reason
    assert "labels named wrongly" in cells["noise"].reason


def test_a_federation_that_trains_a_target_may_defend_itself() -> None:
    raw = {"name": "e", "task": "model_inversion", "target": "federation", "attack": "mi_face", "model": "mlp"}
    made = make_inversion_plan({**raw, "defence": {"name": ["none", "noise"], "noise_multiplier": [0.1, 1.0]}})
    found = [(target.label, target.attacked.defence, target.attacked.defence_settings) for target in made.targets]
    assert found == [
        ("digits-mlp-torch-none", "none", {}),
        ("digits-mlp-torch-noise-noise_multiplier=0.1", "noise", {"noise_multiplier": 0.1}),
        ("digits-mlp-torch-noise-noise_multiplier=1.0", "noise", {"noise_multiplier": 1.0}),
    ]
    assert made.targets[1].simulation(0).defence.settings == {"clipping_norm": 4.0, "noise_multiplier": 0.1}
    assert [target.attacked.model for target in make_inversion_plan(raw).targets] == ["mlp"]
