"""Model inversion and membership inference of a recorded federation: a real small one, and what lacks where it does."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.config import SimulationConfig, validate
from fl_sim.datasets import load_dataset
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import TrainedModel, save_record
from fl_sim.simulation import run_federation
from fl_sim.training import local_sgd, parameters_of
from judges.bench.audit.ladder import carried_out
from judges.bench.audit.membership import RecordedMembership
from judges.cli import app
from judges.plans.audit import read_audit
from judges.progress import Watch
from judges.report.gradient_inversion.statement import write_attack_statement
from judges.runs.integrity import verify
from judges.runs.manifest import RUNS_OF_THREATS, UNTRIED, read_manifest
from judges.runs.rows import read_scores
from judges.runs.rows.classes import ClassScore
from judges.runs.rows.membership import BLIND, NULL, MembershipScore
from judges.runs.tables import read_rows
from judges.scoring.membership.recorded import Others, Recorded

MODELS, MEMBERS = "model_inversion", "membership"
QUICK = (
    "attack=idlg", "attack.iterations=1", "attack.inner_iterations=1", "checks=0", "model_inversion.iterations=5",
    "judge.max_epochs=1",
)  # fmt: skip
CONFIG = {
    "seed": 3,
    "dataset": {"name": "digits", "size": 8},
    "model": {"name": "mlp", "init": "torch", "hidden": 16},
    "strategy": {"name": "FedAvg"},
    "federation": {"clients": 2, "rounds": 2, "batch_size": 8, "local_steps": 1, "learning_rate": 0.5},
}


def record(folder: Path, rounds: int = 2) -> None:
    """Leave captures and seals of a federation, and no models, as CuriousGrid and `seal` in a user's app do."""
    raw = {**CONFIG, "federation": {**dict(CONFIG["federation"]), "rounds": rounds}}  # type: ignore[call-overload]
    run_federation(validate(SimulationConfig, raw), output=folder, federation_id="mine")
    for other in ("models", "federations"):
        shutil.rmtree(folder / other, ignore_errors=True)


def publish(folder: Path, count: int = 60) -> str:
    """Write pictures that no client holds, one subfolder for each class."""
    images, labels = load_dataset("digits", size=8).test.batch(slice(0, count))
    for number, (one, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(int(label)) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * one[0].numpy()).round().astype(np.uint8)).save(place)
    return str(folder)


def audit(folder: Path, public: str = "", threats: str = "gradient,model,membership", more: Sequence[str] = ()) -> None:
    plan = read_audit([*QUICK, *more], public=public, threats=threats)
    list(carried_out(plan, folder, Watch.silent()))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    record(folder / "mine")
    publish(folder / "public")
    return folder


@pytest.fixture(scope="module")
def done(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "mine"
    shutil.copytree(recorded / "mine", folder)
    audit(folder, str(recorded / "public"))
    return folder


@pytest.fixture
def mine(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded / "mine", tmp_path / "mine"))


def contents(inputs: Iterable[torch.Tensor]) -> set[bytes]:
    return {one.contiguous().numpy().tobytes() for one in inputs}


def members_of(folder: Path) -> dict[str, MembershipScore]:
    return {row.control: row for row in read_rows(MembershipScore, folder / MEMBERS / "scores.csv")}


def test_all_three_threats_are_on_one_page(done: Path) -> None:
    assert read_manifest(done)[RUNS_OF_THREATS] == [MODELS, MEMBERS]
    assert UNTRIED not in read_manifest(done)
    assert verify(done).is_sound
    answers = [row for row in read_rows(ClassScore, done / MODELS / "scores.csv") if not row.control]
    assert [(row.attack, row.label, row.round) for row in answers] == [("mi_face", label, 1) for label in range(10)]
    rows = members_of(done)
    assert (rows[""].attack, rows[""].round) == ("loss_threshold", 1)
    assert (rows[""].members, rows[""].non_members) == (16, 30)  # both clients of round 1, and half of the pictures
    assert {"random scores", NULL, BLIND} < rows.keys()
    report = (done / "report.md").read_text()
    assert "## All threats to this federation" in report
    for line in ("| gradient inversion | C |", "| model inversion |", "| membership inference |"):
        assert line in report
    assert "MLP, membership inference by loss threshold, global model: AUC 0." in (done / "report.html").read_text()
    statement = write_attack_statement(done).with_suffix(".md").read_text()
    assert "All threats to this federation" in statement
    assert "| membership inference |" in statement
    assert "Better than all controls, of the attacked rounds of all networks: model inversion of" in statement
    assert "## Memorisation" not in (done / MODELS / "report.md").read_text()  # public pictures trained no target


def test_candidates_tell_nothing_by_their_order_and_no_other_was_sealed(recorded: Path, tmp_path: Path) -> None:
    captures = CaptureStore(recorded / "mine" / "captures").ids()
    spec = CaptureStore(recorded / "mine" / "captures").load(captures[0]).model.input
    sealed = torch.cat([one.inputs for one in SealedStore(recorded / "mine" / "sealed")])
    public = Path(shutil.copytree(recorded / "public", tmp_path / "public"))
    Image.fromarray((255 * sealed[0, 0].numpy()).round().astype(np.uint8)).save(public / "0" / "member.png")
    asked = Recorded(recorded / "mine", tuple(captures), Others(spec, None, str(public)), 2000, 0, 0)
    candidates, members = asked.question(), asked.truth()
    flips = int((members[1:] != members[:-1]).sum())
    assert flips > 10  # they are mixed
    known = contents(sealed)
    others = [*candidates.inputs[~members], *asked.own().inputs]
    assert (len(others), int(members.sum())) == (60, (len(known) + 1) // 2)
    assert not contents(others) & known
    held_back = contents(asked.apart().inputs)  # which the control learns, as the pictures may be from elsewhere
    assert contents(candidates.inputs[members]) | held_back == known
    assert not contents(candidates.inputs[members]) & held_back


def test_so_few_sealed_examples_are_all_asked_about(recorded: Path) -> None:
    first = CaptureStore(recorded / "mine" / "captures").ids()[:2]
    spec = CaptureStore(recorded / "mine" / "captures").load(first[0]).model.input
    asked = Recorded(recorded / "mine", tuple(first), Others(spec, None, str(recorded / "public")), 2000, 0, 0)
    assert (int(asked.truth().sum()), asked.lack()) == (16, "")
    assert contents(asked.apart().inputs) == contents(asked.own().inputs)


def test_pictures_from_elsewhere_are_no_evidence(mine: Path, tmp_path: Path) -> None:
    """A model that knows where the clients' pictures come from, and has seen none of them."""
    spec = CaptureStore(mine / "captures").load("mine/r001-c000").model
    model = build_model(spec, seed=0)
    local_sgd(model, [load_dataset("digits", size=8).test.batch()] * 1000, learning_rate=0.5)
    save_record(TrainedModel(spec, parameters_of(model), 0.0, 2, 0), mine / "models" / "mine.safetensors")
    for path in Path(publish(tmp_path / "elsewhere")).rglob("*.png"):
        with Image.open(path) as picture:
            Image.fromarray(255 - np.roll(np.asarray(picture), 2, axis=1)).save(path)
    audit(mine, str(tmp_path / "elsewhere"), "membership", ["defence=unknown"])
    rows = members_of(mine)
    assert rows[""].auc > 0.9
    assert rows[BLIND].auc > 0.9
    assert "members and others differ without any training" in (mine / MEMBERS / "report.html").read_text()


def test_without_public_pictures_the_page_is_written_and_says_what_lacks(mine: Path) -> None:
    told = [text for one in QUICK for text in ("--set", one)]
    called = CliRunner().invoke(app, ["audit", str(mine), "--threats", "model,membership", *told])
    assert called.exit_code == 0, called.output
    assert "note: membership: not attempted, since there is nobody who is known not to be" in " ".join(
        called.output.split()
    )
    untried = read_manifest(mine)[UNTRIED]
    assert untried[MODELS].startswith("no judge can be trained that recognises classes in answers; give --public")
    assert untried.keys() == {MODELS, MEMBERS}
    assert not (mine / MODELS).exists()
    assert verify(mine).is_sound
    assert "membership inference: not attempted, since there is nobody" in (mine / "report.html").read_text()
    statement = write_attack_statement(mine).with_suffix(".md").read_text()
    assert "Not attempted: model inversion and membership inference." in statement


@pytest.mark.parametrize(
    ("public", "sealed", "rounds", "reasons"),
    [
        ("loose", True, 2, {MODELS: "have no classes", MEMBERS: "have no classes"}),
        ("public", False, 2, {MEMBERS: "no client sealed what the recorded model was trained on"}),
        ("few", True, 2, {MODELS: "of class '3' are fewer than 2", MEMBERS: "only 9 others are left for the control"}),
        ("public", True, 1, {MODELS: "which has seen nobody", MEMBERS: "which has seen nobody"}),
    ],
)
def test_the_true_reason_is_told(
    public: str, sealed: bool, rounds: int, reasons: dict[str, str], recorded: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(recorded / "mine", tmp_path / "mine"))
    if rounds == 1:
        for room in ("captures", "sealed"):
            for path in (mine / room).rglob("r002-*"):
                path.unlink()
    if not sealed:
        shutil.rmtree(mine / "sealed")
    if public == "few":
        for path in (recorded / "public").iterdir():
            (tmp_path / "few" / path.name).mkdir(parents=True)
            for one in sorted(path.iterdir())[: 1 if path.name == "3" else 2]:
                shutil.copy(one, tmp_path / "few" / path.name)
    if public == "loose":
        (tmp_path / "loose").mkdir()
        for path in (recorded / "public" / "1").iterdir():
            shutil.copy(path, tmp_path / "loose")
    audit(mine, str(recorded / "public" if public == "public" else tmp_path / public))
    untried = read_manifest(mine)[UNTRIED]
    assert untried.keys() == reasons.keys()
    assert all(text in untried[threat] for threat, text in reasons.items())
    assert (mine / "report.html").is_file()


@pytest.mark.endurance
def test_results_survive_an_interruption_and_another_threat(
    mine: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    audit(mine, str(recorded / "public"), "gradient")
    assert RUNS_OF_THREATS not in read_manifest(mine)
    answers = {path: path.stat().st_mtime_ns for path in (mine / "reconstructions").rglob("*.safetensors")}
    assert answers
    with monkeypatch.context() as patched:
        patched.setattr(RecordedMembership, "execute", killed)
        with pytest.raises(KeyboardInterrupt):
            audit(mine, str(recorded / "public"))
    assert (mine / "report.html").is_file()
    assert (mine / MODELS / "report.html").is_file()
    inversions = {path: path.stat().st_mtime_ns for path in (mine / MODELS / "inversions").rglob("*.safetensors")}
    audit(mine, str(recorded / "public"))
    now = {path: path.stat().st_mtime_ns for path in (*answers, *inversions)}
    assert now == {**answers, **inversions}
    assert verify(mine).is_sound
    assert len(read_scores(mine / "scores.csv")) > 0
    assert members_of(mine)[""].members == 16


def test_members_of_an_overfitted_kept_model_are_told(mine: Path, recorded: Path) -> None:
    batches = [(one.inputs, one.labels) for one in SealedStore(mine / "sealed")]
    capture = CaptureStore(mine / "captures").load("mine/r001-c000")
    model = build_model(capture.model, parameters=capture.parameters)
    inputs, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    wrong = (labels + torch.arange(len(labels))) % 10  # nothing but memory tells these
    for batch in SealedStore(mine / "sealed"):
        at = [name.capture_id for name in SealedStore(mine / "sealed")].index(batch.capture_id)
        SealedStore(mine / "sealed")(replace(batch, labels=wrong[8 * at : 8 * at + 8]))
    local_sgd(model, [(inputs, wrong)] * 1500, learning_rate=0.5)
    kept = TrainedModel(capture.model, parameters_of(model), 0.0, 2, 0)
    save_record(kept, mine / "models" / "mine.safetensors")
    audit(mine, str(recorded / "public"), "membership", ["defence=unknown"])  # else labels are said not to fit
    row = members_of(mine)[""]
    assert (row.round, row.members) == (2, (len(contents(inputs)) + 1) // 2)
    assert row.auc > 0.9
    assert (
        "| membership inference | \N{EN DASH} | loss threshold, global model | ANN | 2 |"
        in (mine / "report.md").read_text()
    )


def test_names_and_settings_are_checked_before_anything_is_read() -> None:
    for told, threats, text in (
        ([], "gradient,modell", "threats: 'modell' is not known. Did you mean 'model'?"),
        (["membership=lira"], "", "membership.name: 'lira' compares with shadow models"),
        (["membership.draw=2"], "", "membership.draw: unknown key. Did you mean 'draws'?"),
        (["model_inversion=mi_fac"], "", "model_inversion.name: 'mi_fac' is not known. Did you mean 'mi_face'?"),
        (["model_inversion.iteration=2"], "", "model_inversion.iteration: unknown key. Did you mean 'iterations'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_audit(told, threats=threats)
        assert text in str(caught.value)
    assert read_audit(["threats=model,membership"]).raw["threats"] == "gradient,model,membership"
    assert read_audit([]).raw.keys().isdisjoint({"threats", MODELS, MEMBERS})
