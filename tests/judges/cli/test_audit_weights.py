"""The audit of a model's file: who was in its training and what its classes look like, as far as somebody says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import spikeleak as sl
import torch
from PIL import Image

from fl_sim.datasets import load_dataset
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, TrainedModel, save_record
from fl_sim.training import local_sgd, parameters_of
from judges.runs.integrity import verify
from judges.runs.manifest import RUNS_OF_THREATS, UNTRIED, read_manifest
from judges.runs.rows.classes import FILE, ClassScore
from judges.runs.rows.membership import NULL, MembershipScore
from judges.runs.tables import read_rows
from tests.judges.cli.conftest import Call

INVERSION, MEMBERSHIP = "model_inversion", "membership"
SPEC = ModelSpec("mlp", InputSpec(1, 8, 8, 10), hidden=32)
MODEL = ("--set", "model=mlp", "--set", "model.hidden=32")
SIZES = [text for one in ("channels=1", "height=8", "width=8", "classes=10") for text in ("--set", f"input.{one}")]
DATA = ("--set", "dataset=digits", "--set", "dataset.size=8")
SHORT = ("--set", "model_inversion.iterations=5", "--quiet")


def pictures(folder: Path, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Write test digits as pictures, one subfolder for each class, and return them and their labels."""
    images, labels = load_dataset("digits", size=8).test.batch(slice(start, start + count))
    for number, (one, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(int(label)) / f"{start + number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * one[0].numpy()).round().astype(np.uint8)).save(place)
    return images, labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that has learned labels by heart, its examples, and others of the same kind."""
    folder = tmp_path_factory.mktemp("trained")
    images, labels = pictures(folder / "members", 0, 60)
    wrong = (labels + torch.arange(len(labels))) % 10  # nothing but memory tells these
    shutil.rmtree(folder / "members")
    for number, (one, label) in enumerate(zip(images, wrong, strict=True)):
        place = folder / "members" / str(int(label)) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * one[0].numpy()).round().astype(np.uint8)).save(place)
    pictures(folder / "public", 60, 80)
    model = build_model(SPEC, seed=1)
    local_sgd(model, [(images, wrong)] * 2000, learning_rate=0.5)
    torch.save(model.state_dict(), folder / "final_model.pt")
    save_record(TrainedModel(SPEC, parameters_of(model), 0.0, 0, 0), folder / "ours.safetensors")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, which is the current one."""
    folder = Path(shutil.copytree(trained, tmp_path / "here"))
    monkeypatch.chdir(folder)
    return folder


def members_in(folder: Path) -> dict[str, MembershipScore]:
    return {row.control: row for row in read_rows(MembershipScore, folder / MEMBERSHIP / "scores.csv")}


def test_a_model_that_knows_its_examples_by_heart_tells_its_members(spikeleak: Call, here: Path) -> None:
    shutil.copy(next((here / "members" / "3").iterdir()), here / "public" / "3")  # is no other example
    told = (*MODEL, *SIZES, "--public", "public", "--members", "members")
    code, out, err = spikeleak("audit", "final_model.pt", *told, *SHORT)
    assert (code, out, err) == (0, "", "")
    folder = here / "final_model-audit"
    assert read_manifest(folder)[RUNS_OF_THREATS] == [INVERSION, MEMBERSHIP]
    assert UNTRIED not in read_manifest(folder)
    rows = members_in(folder)
    assert (rows[""].members, rows[""].non_members, rows[""].source) == (30, 40, FILE)
    assert rows[""].auc > 0.9
    assert rows[NULL].auc < rows[""].auc
    assert rows[""].train_accuracy == 1.0
    answers = [row for row in read_rows(ClassScore, folder / INVERSION / "scores.csv") if not row.control]
    assert [(row.label, row.source) for row in answers] == [(label, FILE) for label in range(10)]
    assert verify(folder).is_sound
    page, report = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "the training can be told better than by chance from the target." in page
    assert "own data, ANN MLP, weights from a file: members are told apart by loss threshold" in report
    assert spikeleak("statement", "final_model-audit")[0] == 0
    statement = (folder / "statement.md").read_text()
    assert "**Trained on:** the pictures in 'members', as the owner of the model says" in statement
    assert "Audit of a trained model alone" in statement
    assert "not tried: a model's file has no updates of clients" in statement
    assert verify(folder).is_sound


def test_the_splits_of_a_data_set_are_members_and_others(spikeleak: Call, here: Path) -> None:
    told = ("--members", "train", "--threats", "membership", *DATA)
    assert spikeleak("audit", "ours.safetensors", *told, "--quiet", "--out", "found") == (0, "", "")
    rows = members_in(here / "found")
    digits = load_dataset("digits", size=8)
    assert (rows[""].members, rows[""].non_members) == ((len(digits.train) + 1) // 2, len(digits.test) // 2)
    assert abs(rows[""].auc - 0.5) < 0.1  # it was trained on test digits, so that its owner has said what is not true
    assert not (here / "found" / INVERSION).exists()
    manifest = read_manifest(here / "found")
    assert manifest["members"] == "the train split of digits, as the owner of the model says"
    assert "digits" in manifest["datasets"]


def test_what_nobody_says_is_not_attempted(spikeleak: Call, here: Path) -> None:
    code, _, _ = spikeleak("audit", "final_model.pt", *MODEL, *SIZES, "--public", "public", *SHORT)
    assert code == 0
    untried = read_manifest(here / "final_model-audit")[UNTRIED]
    assert untried.keys() == {MEMBERSHIP}
    assert "nobody says what the model was trained on; give --members" in untried[MEMBERSHIP]
    assert "| membership inference | nobody says" in (here / "final_model-audit" / "report.md").read_text()
    result = sl.audit(
        "final_model.pt", members="train", progress=False,
        set={"model": "mlp", "model.hidden": 32, "dataset": "digits", "dataset.size": 8, "threats": "membership"},
    )  # fmt: skip
    assert not (here / "final_model-audit" / INVERSION / "report.html").exists()  # it was not asked for this time
    assert "weights from a file: <b>nothing found</b>" in result._repr_html_()
    assert verify(here / "final_model-audit").is_sound


def test_another_file_of_the_same_name_is_attacked_anew(spikeleak: Call, here: Path) -> None:
    told = (*MODEL, *SIZES, "--public", "public", "--members", "members", "--threats", "membership", "--quiet")
    assert spikeleak("audit", "final_model.pt", *told)[0] == 0
    first = members_in(here / "final_model-audit")[""].auc
    answers = sorted((here / "final_model-audit" / MEMBERSHIP / "inferences").rglob("*.safetensors"))
    times = [path.stat().st_mtime_ns for path in answers]
    assert spikeleak("audit", "final_model.pt", *told)[0] == 0
    assert [path.stat().st_mtime_ns for path in answers] == times
    torch.save(build_model(SPEC, seed=2).state_dict(), here / "final_model.pt")
    assert spikeleak("audit", "final_model.pt", *told)[0] == 0
    assert members_in(here / "final_model-audit")[""].auc < first - 0.3
    shutil.copy(here / "final_model.pt", here / "final_model.bin")
    code, _, err = spikeleak("audit", "final_model.bin", *told)
    assert (code, "holds the audit of 'final_model.pt', not of 'final_model.bin'" in err) == (2, True)


def test_where_members_and_others_come_from_is_no_membership(spikeleak: Call, here: Path) -> None:
    """A model that knows the source of the pictures, and none of them, while the public ones come from elsewhere."""
    pictures(here / "strangers", 200, 200)
    images, labels = load_dataset("digits", size=8).train.batch(slice(0, 600))
    model = build_model(SPEC, seed=3)
    local_sgd(model, [(images, labels)] * 1500, learning_rate=0.5)
    torch.save(model.state_dict(), here / "general.pt")
    for path in (here / "public").rglob("*.png"):
        with Image.open(path) as picture:
            moved = np.roll(np.asarray(picture), 2, axis=1)
        Image.fromarray(255 - moved).save(path)
    told = (*MODEL, *SIZES, "--public", "public", "--members", "strangers", "--threats", "membership", "--quiet")
    assert spikeleak("audit", "general.pt", *told)[0] == 0
    rows = members_in(here / "general-audit")
    assert rows[""].auc > 0.8  # it knows what one kind looks like
    page = (here / "general-audit" / "report.html").read_text()
    assert "members and others differ without any training" in page


def test_pictures_that_change_between_two_calls_of_one_process_are_read_anew(here: Path) -> None:
    def found() -> tuple[int, float]:
        sl.audit(
            "final_model.pt", members="members", public="public", progress=False,
            set={"model": "mlp", "model.hidden": 32, "threats": "membership", **dict.fromkeys(
                ("input.height", "input.width"), 8), "input.channels": 1, "input.classes": 10},
        )  # fmt: skip
        row = members_in(here / "final_model-audit")[""]
        return row.members, row.auc

    assert found()[0] == 30
    pictures(here / "members", 300, 120)
    count, area = found()
    assert (count, area < 0.9) == (90, True)


def test_nothing_is_removed_that_is_not_the_audits(spikeleak: Call, here: Path) -> None:
    told = (*MODEL, *SIZES, "--public", "public", "--members", "members", *SHORT)
    assert spikeleak("audit", "final_model.pt", *told, "--threats", "model")[0] == 0
    folder = here / "final_model-audit"
    for threat in (MEMBERSHIP, "gradient_inversion"):
        (folder / threat).mkdir()
        (folder / threat / "config.toml").write_text('name = "mine"\nattack = "exact"\ndataset.name = "digits"\n')
    answers = {path: path.stat().st_mtime_ns for path in (folder / INVERSION / "inversions").rglob("*.safetensors")}
    assert spikeleak("statement", "final_model-audit")[0] == 0
    assert spikeleak("audit", "final_model.pt", *told)[0] == 0
    assert "holds something else; move it away" in read_manifest(folder)[UNTRIED][MEMBERSHIP]
    assert all((folder / threat / "config.toml").is_file() for threat in (MEMBERSHIP, "gradient_inversion"))
    assert {path: path.stat().st_mtime_ns for path in answers} == answers  # the model was not inverted again
    shutil.rmtree(folder / MEMBERSHIP)
    shutil.rmtree(folder / "gradient_inversion")
    assert spikeleak("verify", "final_model-audit")[0] == 0
    code, _, err = spikeleak("run", str(folder / "config.toml"))
    assert (code, "is the config of an audit" in err) == (2, True)


def test_labels_that_might_be_mixed_up_are_refused(spikeleak: Call, here: Path) -> None:
    told = (*MODEL, *SIZES, "--public", "public", "--members", "members", *SHORT)
    for label in range(10):
        (here / "members" / str(label)).rename(here / "members" / f"class {label}")
    code, _, err = spikeleak("audit", "final_model.pt", *told)
    assert (code, "are the model's classes by another name than beside them (0, 1, 2, 3)" in err) == (2, True)
    for path in list((here / "members").rglob("*.png")):
        path.rename(here / "members" / path.name)
    for path in (here / "members").glob("class *"):
        path.rmdir()
    code, _, err = spikeleak("audit", "final_model.pt", *told)
    assert (code, "have no classes" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.pt", *MODEL, *SIZES], 3, ["missing.pt"]),
        (["final_model.pt", *DATA], 2, ["does not say of which model"]),
        (["final_model.pt", *MODEL, *DATA, "--threats", "gradient,model"], 2, ['"gradient" needs the folder of']),
        (["final_model.pt", *MODEL, *DATA, "--threats", "modle"], 2, ["'modle' is not known. Did you mean 'model'?"]),
        (["final_model.pt", *MODEL, *DATA, "--public", "public"], 2, ["not from both"]),
        (["final_model.pt", *MODEL, *SIZES, "--members", "train"], 2, ["is the train split of a data set"]),
        (["final_model.pt", *MODEL, *SIZES, "--members", "nowhere", "--public", "public"], 3, ["nowhere"]),
        (["final_model.pt", *MODEL, *DATA, "--ladder"], 2, ["--ladder: is for captures of clients"]),
        (["final_model.pt", *MODEL, *SIZES], 2, ["nothing can be attempted", "no judge can be trained", "--members"]),
        (["final_model.pt", *MODEL, *DATA, "--set", "seed=1,2"], 2, ["seed: is the same for the whole audit"]),
        (["final_model.pt", *MODEL, *DATA, "--set", "membership=rmia"], 2, ["compares with shadow models"]),
        (["ours.safetensors", *MODEL, *DATA], 2, ["says itself which model", "leave out model and input."]),
        (["ours.safetensors", "--set", "dataset=digits"], 2, ["inputs of digits are (1, 28, 28) in 10 classes"]),
        (["final_model.pt", *MODEL, *DATA, "--set", "dataset.split=test"], 2, ['dataset.split: expected "train"']),
        (["final_model.pt", *MODEL, *DATA, "--set", "file=other.pt"], 2, ["file: is 'final_model.pt'"]),
        (["gone.ckpt", *MODEL, *DATA, "--members", "train"], 3, ["gone.ckpt"]),
        (["broken.pt", *MODEL, *DATA], 3, ["expected finite weights, found others in 'body.0.1.weight'"]),
        (["final_model.pt", *MODEL, *SIZES, "--public", "public", "--out", "public"], 2, ["holds the pictures that"]),
        (["public", "--members", "members"], 2, ["--members: is for the file of a trained model"]),
        (["final_model.pt", *MODEL, *DATA, "--out", "other"], 2, ["holds something else than the audit of a model"]),
    ],
)
def test_what_is_wrong_is_said_in_a_paragraph_before_anything_is_written(
    spikeleak: Call, here: Path, arguments: list[str], code: int, said: list[str]
) -> None:
    (here / "other").mkdir()
    (here / "other" / "config.toml").write_text('task = "rounds"\n')
    state = torch.load(here / "final_model.pt", weights_only=True)
    torch.save({name: torch.full_like(one, torch.nan) for name, one in state.items()}, here / "broken.pt")
    before = sorted(here.rglob("*"))
    found, out, err = spikeleak("audit", *arguments, "--quiet")
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert all(part in err for part in said), err
    assert sorted(here.rglob("*")) == before


def test_recordings_of_events_are_no_pictures(spikeleak: Call, here: Path) -> None:
    spec = ModelSpec("mlp", InputSpec(2, 8, 8, 10, timesteps=3), hidden=32)
    save_record(TrainedModel(spec, parameters_of(build_model(spec, seed=1)), 0.0, 0, 0), here / "events.safetensors")
    code, _, err = spikeleak("audit", "events.safetensors", "--members", "members", "--public", "public")
    assert code == 2
    assert "members: the model takes recordings of events, which pictures are not" in err
