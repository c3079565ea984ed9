"""A tiny real run over rounds: one federation for all threats, what stands at which round, resuming, and its files."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from fl_sim.contents import read_contents
from fl_sim.datasets import load_dataset
from fl_sim.global_models import global_models
from fl_sim.models import build_model
from fl_sim.records import TrainedModel, load_record
from judges.bench.execution import run_plan
from judges.bench.forecast import forecast_rounds
from judges.bench.model_inversion import InversionRun
from judges.export.cells import read_export
from judges.kinds import KINDS
from judges.plans.rounds import make_rounds_plan
from judges.progress import Watch
from judges.report.rounds.panels import pictures
from judges.runs.comparison import compare
from judges.runs.integrity import verify
from judges.runs.manifest import RUNS_OF_THREATS, THREATS, read_manifest, write_manifest
from judges.runs.rows import read_scores
from judges.runs.rows.membership import CLIENT, NULL, MembershipScore
from judges.runs.rows.rounds import ACCURACY, RECOGNISED, SSIM, RoundScore
from judges.runs.tables import read_rows
from judges.summaries.membership import read_memberships
from judges.summaries.rounds import read_rounds
from tests.judges.plans.test_rounds import RAW

pytestmark = pytest.mark.endurance

TINY = {
    **RAW,
    "attack_repeats": 1,
    "draws": 3,
    "model": {"name": ["mlp", "spiking_mlp"], "hidden": 16, "timesteps": 3},
    "judge": {"name": "none", "max_epochs": 1, "max_examples": 100},
    "membership": ["loss_threshold", "gradient_cosine"],
}
UPDATES, MODELS, MEMBERS = "gradient_inversion", "model_inversion", "membership"


def run(folder: Path) -> Path:
    return run_plan(make_rounds_plan(dict(TINY)), folder, Watch(Console(file=io.StringIO())))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "run"
    run(folder)
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "run"))


def rows_of(folder: Path) -> list[RoundScore]:
    return read_rows(RoundScore, folder / "scores.csv")


def test_model_inversion_is_of_the_models_behind_the_captured_updates(done: Path) -> None:
    for name in ("digits-mlp-uniform-000", "digits-spiking_mlp-uniform-000"):
        trained, given = (global_models(done / part / "models", name) for part in (UPDATES, MODELS))
        assert list(trained) == list(given) == [0, 1, 2]
        assert [path.read_bytes() for path in trained.values()] == [path.read_bytes() for path in given.values()]
        theirs, ours = (read_contents(done / part, name) for part in (UPDATES, MODELS))
        assert theirs is not None
        assert ours is not None
        assert ours.captures == frozenset()  # the other run trained it, and this one captured nothing
        assert len(theirs.captures) == 4  # two clients with a single example, two rounds


def test_membership_is_of_the_same_models_captures_and_sealed_examples(done: Path) -> None:
    for name in ("digits-mlp-uniform-000", "digits-spiking_mlp-uniform-000"):
        theirs, ours = (read_contents(done / part, name) for part in (UPDATES, MEMBERS))
        assert theirs is not None
        assert theirs == ours
        assert ours.flaw(done / MEMBERS) == ""
    rows = read_rows(MembershipScore, done / MEMBERS / "scores.csv")
    of_updates = [row for row in rows if row.source == CLIENT]
    assert {(row.members, row.non_members) for row in of_updates} == {(1, 20)}  # a client with a single picture
    of_models = [row for row in rows if row.source != CLIENT]
    assert {(row.members, row.non_members) for row in of_models} == {(20, 20)}  # of all clients, not of these alone


def test_areas_stand_beside_random_scores_and_a_model_that_never_saw_the_candidates(done: Path) -> None:
    cells = {(cell.cell): cell for cell in read_memberships(done / MEMBERS / "summary.json").cells}
    rows = {row.cell: row for row in rows_of(done) if row.threat == MEMBERS and row.model == "mlp"}
    update = rows["membership: digits-mlp-uniform@r001-clients/gradient_cosine"]
    area = cells["digits-mlp-uniform@r001-clients/gradient_cosine"].auc
    assert (update.round, update.value, update.low, update.high) == (0, area.mean, area.low, area.high)
    assert update.line == "gradient cosine, updates"
    model = rows["membership: digits-mlp-uniform@r002/loss_threshold"]
    assert (model.round, model.value) == (2, cells["digits-mlp-uniform@r002/loss_threshold"].auc.mean)
    unseen = rows[f"membership: digits-mlp-uniform@r002/loss_threshold, {NULL}"]
    kept = cells["digits-mlp-uniform@r002/loss_threshold"].null
    assert kept is not None
    assert (unseen.control, unseen.value) == (NULL, kept.mean)
    (panel,) = (one.panels[MEMBERS] for one in pictures(read_rounds(done / "summary.json")))
    assert panel.band is not None
    assert all(low <= 0.5 <= high for _, low, high in panel.band.points)
    assert 0.5 in [mark.value for mark in panel.marks]


def test_an_update_stands_at_the_rounds_behind_the_model_that_the_client_was_sent(done: Path) -> None:
    raw = read_scores(done / UPDATES / "scores.csv")
    for row in rows_of(done):
        if row.threat == UPDATES and row.measure == SSIM and not row.control:
            own = [one.ssim for one in raw if one.group == row.group and one.attack == row.attack and not one.control
                   and one.round == row.round + 1]  # fmt: skip
            assert None not in own
            assert row.n == len(own) == 2
            assert row.value == pytest.approx(sum(value for value in own if value is not None) / 2)
    rounds = {threat: {row.round for row in rows_of(done) if row.threat == threat} for threat in ("", *THREATS)}
    assert rounds == {"": {0, 1, 2}, UPDATES: {0, 1}, MODELS: {0, 1, 2}, MEMBERS: {0, 1, 2}}
    assert {row.spiking for row in rows_of(done) if row.measure == RECOGNISED and not row.control} == {False, True}


def test_the_accuracy_is_that_of_all_examples_that_no_client_holds(done: Path) -> None:
    test = load_dataset("digits", size=16).test
    inputs, labels = test.batch(torch.arange(len(test)))
    curve = {row.round: row for row in rows_of(done) if row.measure == ACCURACY and row.model == "mlp"}
    for number, path in global_models(done / UPDATES / "models", "digits-mlp-uniform-000").items():
        kept = load_record(TrainedModel, path)
        module = build_model(kept.model, parameters=kept.parameters)
        module.load_state_dict(dict(kept.parameters))
        with torch.no_grad():
            right = int((module(inputs).argmax(1) == labels).sum())
        assert curve[number].value == pytest.approx(right / len(test), abs=1e-12)
        assert curve[number].n == len(test)


def test_a_run_that_is_cut_off_in_its_second_threat_ends_as_one_that_was_not(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cut"

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(InversionRun, "judge", cut)
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    written = {path: path.stat().st_mtime_ns for path in (folder / UPDATES).rglob("*.safetensors")}
    run(folder)
    assert {path: path.stat().st_mtime_ns for path in written if "gallery" not in path.parts} == {
        path: when for path, when in written.items() if "gallery" not in path.parts
    }
    assert compare(done, folder).is_equal
    assert verify(folder).is_sound


def test_verification_covers_the_runs_of_the_threats(copied: Path) -> None:
    assert verify(copied).is_sound
    path = next((copied / MODELS / "models").glob("*@r001.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = verify(copied)
    assert found.changed == (f"{MODELS}/{path.relative_to(copied / MODELS)}",)
    (copied / UPDATES / "files.sha256").unlink()
    assert f"{UPDATES}/files.sha256" in verify(copied).missing


def test_a_given_model_that_was_damaged_is_given_again(copied: Path) -> None:
    path = next((copied / MODELS / "models").glob("*@r001.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    run(copied)
    assert path.read_bytes() == whole
    assert verify(copied).is_sound


def test_the_report_has_a_figure_of_each_family_and_its_files(copied: Path) -> None:
    page = KINDS["rounds"].part("report")(copied, figures=True)
    text = page.read_text(encoding="utf-8")
    assert text.count('class="sweep"') == 1  # the ANN and the SNN share the panels
    names = {path.name for path in (copied / "figures").iterdir()}
    for panel in ("accuracy", "gradient-inversion", "model-inversion", "membership"):
        assert f"rounds-1-{panel}-1col.pdf" in names
    assert "<dt>ANN and SNN</dt>" in text
    assert "minus this network, on the same examples (4 pairs): iDLG SSIM" in text  # two pictures in two rounds
    assert 'id="contrast"' in text
    for heading in ("iDLG, SSIM", "MI-Face, recognised, %", "BrainLeaks-v2, recognised, %", "updates, AUC"):
        assert heading in text
    KINDS["gradient_inversion"].part("report")(copied / UPDATES, figures=True)
    assert "accuracy-digits-1col.pdf" in {path.name for path in (copied / UPDATES / "figures").iterdir()}
    assert "Accuracy of the global model" in (copied / UPDATES / "report.html").read_text(encoding="utf-8")


def test_a_forecast_counts_the_federations_once(tmp_path: Path) -> None:
    facts = list(forecast_rounds(make_rounds_plan(dict(TINY)), tmp_path / "new"))
    first, *others = [told for what, told in facts if what.strip() == "time"]
    assert "for the federations" in first
    assert len(others) == 2
    assert all(told.startswith("nothing is left to train") for told in others)


def test_the_curves_are_exported_by_round(done: Path) -> None:
    cells = read_export(done).cells
    accuracy = {
        cell.step: cell.numbers[ACCURACY]
        for cell in cells
        if ACCURACY in cell.numbers and cell.settings["model"] == "mlp"
    }
    assert accuracy == {row.round: row.value for row in rows_of(done) if row.measure == ACCURACY and not row.spiking}
    told = [cell for cell in read_export(done / UPDATES).cells if cell.name.endswith("global model")]
    assert [cell.step for cell in told] == [0, 1, 2, 0, 1, 2]


def test_a_statement_takes_all_threats(copied: Path) -> None:
    page = KINDS["rounds"].part("statement")(copied)
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    assert "Threats: gradient inversion, model inversion and membership inference." in text
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert {line[0].strip("| ") for line in table} == {
        "gradient inversion", "model inversion", "membership inference",
    }  # fmt: skip
    assert {(line[2], line[1]) for line in table if "inversion" in line[0]} >= {
        ("iDLG", "C"),
        ("MI-Face", "\N{EN DASH}"),
    }
    assert "not tried: A (the update only)" in text
    assert "no evidence that the data are safe" in text
    shutil.rmtree(copied / MEMBERS)
    manifest = read_manifest(copied)
    write_manifest(copied, {**manifest, RUNS_OF_THREATS: [UPDATES, MODELS]})
    without = KINDS["rounds"].part("statement")(copied).with_suffix(".md").read_text(encoding="utf-8")
    assert "- **Not tried:** membership inference\n" in without
