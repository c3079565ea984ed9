"""An audit of captures that no experiment of ours made: with a sealed truth, with a part of it, with none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from attacks.contracts import Reconstruction
from fl_sim.accounts import Account, Refusal
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SealedBatch, load_record
from fl_sim.training import capture_gradient, parameters_of
from judges.bench.audit.costs import cost
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import run_plan
from judges.plans.audit import read_audit
from judges.progress import Watch
from judges.report.gradient_inversion.statement import write_attack_statement
from judges.runs.integrity import verify
from judges.runs.manifest import read_manifest
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests import programs, zoo
from tests.judges.bench.test_gradient_inversion import run

MODULE = """
from torch import nn
from fl_sim.models import MODELS, ModelEntry


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(8 * 36, 4))

    def forward(self, inputs):
        return self.layers(inputs)


MODELS["foreign_net"] = ModelEntry(lambda spec: Net(), spiking=False, summary="of somebody else")
"""
SPEC = ModelSpec("lenet", InputSpec(channels=1, height=8, width=8, classes=4))


def leave_captures(folder: Path, sealed: int, count: int = 3, spec: ModelSpec = SPEC) -> None:
    """Leave captures of a federation, the first of them with their truth."""
    for client in range(count):
        generator = torch.Generator().manual_seed(client)
        inputs, labels = torch.rand(1, 1, 8, 8, generator=generator), torch.tensor([client % 4])
        parameters = parameters_of(build_model(spec, seed=client))
        name = f"mine/r001-c{client:03d}"
        CaptureStore(folder / "captures")(replace(capture_gradient(spec, parameters, inputs, labels), id=name))
        if client < sealed:
            SealedStore(folder / "sealed")(SealedBatch(name, inputs, labels))


def audit(folder: Path, *assignments: str, show_faces: bool = False, workers: int = 1) -> Path:
    """Audit a folder, with iDLG and without sanity checks unless the assignments say otherwise."""
    named = any(one.startswith("attack=") for one in assignments)
    plan = read_audit(["checks=0", *([] if named else ["attack=idlg"]), *assignments])
    options = EngineOptions(workers=workers)
    return run_plan(plan, folder, Watch.silent(), show_faces=show_faces, options=options)


def test_sealed_captures_are_scored_beside_controls(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=3)
    page = audit(tmp_path, "attack=idlg", "attack.iterations=60").read_text()
    rows = read_scores(tmp_path / "scores.csv")
    assert {row.control for row in rows} == {"", "no-op", "black", "grey", "swapped"}
    assert {(row.attack, row.guess) for row in rows if row.control == "no-op"} == {("", "normal")}
    (cell,) = (cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.control)
    assert (cell.n, cell.verdict) == (3, "recovered")
    assert all(row.label_correct for row in rows if not row.is_control)
    solved = [row for row in rows if row.solved]
    assert solved
    assert max(row.answer_mismatch or 1.0 for row in solved) < 1e-3
    assert "Truth beside reconstruction" in page
    assert "Answers without a truth" not in page
    assert "Health of the victim" in page
    assert "What can be read off" in page
    assert verify(tmp_path).is_sound
    assert read_manifest(tmp_path)["scores_sha256"]


def test_without_a_truth_the_answers_are_shown_and_nothing_is_claimed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=0)
    page = audit(tmp_path, "attack.iterations=5").read_text()
    assert read_scores(tmp_path / "scores.csv") == []
    assert "No attack was scored in this run." in page
    (reads,) = read_summary(tmp_path / "summary.json").reads
    assert (reads.updates, reads.how, reads.certain, reads.residual) == (3, {"bias": 3}, 1.0, 1.0)
    assert "What can be read off" in page
    assert page.count('alt="answer to mine/r001-c00') == 3
    assert "| mine/r001-c001 | lenet/idlg | 1 |" in (tmp_path / "report.md").read_text()
    assert verify(tmp_path).is_sound


def test_a_part_of_the_truth_is_scored_and_the_rest_shown(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1)
    page = audit(tmp_path, "attack.iterations=5").read_text()
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c000"}
    assert page.count('alt="answer to mine/r001-c00') == 2


def test_what_the_curious_server_did_not_record_is_said(tmp_path: Path) -> None:
    refusal = Refusal(reason="the client failed: out of coffee", replies=2, first="client 1 in round 1")
    leave_captures(tmp_path, sealed=0, count=1)
    CaptureStore(tmp_path / "captures").note("mine", Account(replies=3, recorded=1, refused=(refusal,)))
    audit(tmp_path, "attack.iterations=1")
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert warning == (
        "The curious server of mine recorded 1 of 3 replies; 2 not, the first that of client 1 in round 1: the client "
        "failed: out of coffee."
    )
    empty = tmp_path / "empty"
    CaptureStore(empty / "captures").note("mine", Account(replies=2, recorded=0, refused=(refusal,)))
    with pytest.raises(DataError, match=r"found none\. .* recorded 0 of 2 replies; .*: out of coffee\."):
        audit(empty)


def test_people_are_hidden_unless_asked_for(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1)
    assert "data:image/png" not in audit(tmp_path, "people=true", "attack.iterations=1").read_text()
    assert "data:image/png" in audit(tmp_path, "people=true", "attack.iterations=1", show_faces=True).read_text()


def test_a_second_audit_with_the_same_seed_gives_the_same_scores(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2)
    digests = []
    for _ in range(2):
        audit(tmp_path, "attack.iterations=5")
        digests.append(read_manifest(tmp_path)["scores_sha256"])
    assert digests[0] == digests[1]


def test_another_audit_shows_nothing_of_the_one_before(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=2)
    assert "lenet/dlg" in audit(tmp_path, "attack=dlg", "attack.iterations=1").read_text()
    page = audit(tmp_path, "attack=idlg", "attack.iterations=1").read_text()
    assert "lenet/dlg" not in page
    assert page.count("<h4>") == 1


def test_an_experiment_is_never_replaced_by_an_audit(tmp_path: Path) -> None:
    run(tmp_path / "run")
    before = verify(tmp_path / "run")
    with pytest.raises(ConfigError, match="holds an experiment, whose results an audit would replace"):
        audit(tmp_path / "run")
    assert verify(tmp_path / "run") == before
    assert before.is_sound


def test_what_lies_in_a_folder_of_captures_is_not_removed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    mine = tmp_path / "gallery" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"a picture of the user's")
    audit(tmp_path, "attack.iterations=1")
    assert mine.is_file()


def test_a_truth_of_another_class_of_inputs_or_range_is_doubted(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=3)
    audit(tmp_path, "attack.iterations=1")
    assert "warnings" not in read_manifest(tmp_path)
    store = SealedStore(tmp_path / "sealed")
    first, second = store.load("mine/r001-c000"), store.load("mine/r001-c001")
    store(replace(first, inputs=second.inputs, labels=second.labels))
    store(replace(second, inputs=second.inputs * 2 - 1))
    audit(tmp_path, "attack.iterations=1")
    told = read_manifest(tmp_path)["warnings"]
    assert [text.partition(":")[0] for text in told] == ["mine/r001-c000", "mine/r001-c001"]
    assert all("the sealed truth is not that of this update" in text for text in told)
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c002"}
    assert len(list((tmp_path / "reconstructions").rglob("*.safetensors"))) == 3
    store(replace(store.load("mine/r001-c002"), inputs=1 - second.inputs))
    audit(tmp_path, "attack.iterations=1")
    told = read_manifest(tmp_path)["warnings"]
    assert told[0].startswith("mine/r001-c001: the sealed inputs lie in [-")
    assert "for 3 of 3 updates the attack is pointed at the wrong problem" in told[1]
    assert "pointed at the wrong problem" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("factor", [-1.0, 0.5, 3.0])
def test_a_truth_that_explains_another_direction_or_length_is_left_out(factor: float, tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    store = CaptureStore(tmp_path / "captures")
    own = store.load("mine/r001-c000")
    store(replace(own, update={name: factor * value for name, value in own.update.items()}))
    audit(tmp_path, "attack.iterations=1")
    (told,) = read_manifest(tmp_path)["warnings"]
    assert told.startswith("mine/r001-c000: the sealed truth is not that of this update")
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c001"}


def test_a_truth_of_another_size_is_left_out(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2)
    store = SealedStore(tmp_path / "sealed")
    truth = store.load("mine/r001-c000")
    store(replace(truth, inputs=truth.inputs.repeat(4, 1, 1, 1), labels=truth.labels.repeat(4)))
    audit(tmp_path, "attack.iterations=1")
    (told,) = read_manifest(tmp_path)["warnings"]
    assert "mine/r001-c000: its client sealed 4 examples, but 1 local steps of 1 of" in told
    assert told.endswith("This client is attacked and not scored.")
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c001"}


FORMS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "labels (N, 1)": lambda inputs, labels: (inputs, labels[:, None]),
    "one-hot": lambda inputs, labels: (inputs, one_hot(labels, 4)),
    "float labels": lambda inputs, labels: (inputs.double(), labels.float()),
    "no channel": lambda inputs, labels: (inputs[:, 0], labels.int()),
    "channels last": lambda inputs, labels: (inputs.permute(0, 2, 3, 1), labels),
    "uint8": lambda inputs, labels: ((inputs * 255).round().to(torch.uint8), labels),
}


def test_truths_in_other_forms_are_scored_as_what_they_mean(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=len(FORMS), count=len(FORMS))
    store = SealedStore(tmp_path / "sealed")
    truths = {batch.capture_id: batch.inputs for batch in store}
    for batch, form in zip(list(store), FORMS.values(), strict=True):
        inputs, labels = form(batch.inputs, batch.labels)
        store(replace(batch, inputs=inputs, labels=labels))
    audit(tmp_path, "attack.iterations=5")
    rows = {row.capture_id: row for row in read_scores(tmp_path / "scores.csv") if not row.is_control}
    assert [(row.label, row.label_correct) for row in rows.values()] == [(at % 4, True) for at in range(len(FORMS))]
    for path in (tmp_path / "reconstructions").rglob("*.safetensors"):
        answer = load_record(Reconstruction, path)
        error = (answer.inputs - truths[answer.capture_id]).square().mean().item()
        assert rows.pop(answer.capture_id).mse == pytest.approx(error, rel=1e-3, abs=1e-5)  # uint8 has 256 levels
    assert rows == {}
    manifest = read_manifest(tmp_path)
    assert len(manifest["converted"]) == len(FORMS)
    assert manifest["converted"][0] == (
        "mine/r001-c000: of the sealed truth, took labels (1, 1) of int64 as (1,) of int64."
    )
    assert "warnings" not in manifest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": torch.tensor([4])}, "from 0 to 3 for 4 classes, got 4; they seem to be counted from 1"),
        ({"labels": torch.tensor([1.5])}, "its client sealed targets that are not whole numbers"),
        ({"labels": torch.tensor([1, 2])}, "got 2 for 1 inputs"),
        ({"inputs": torch.zeros(1, 1, 8, 9)}, r"expected sealed inputs \(1, 1, 8, 8\) beside labels \(1,\), got"),
        ({"inputs": torch.full((1, 1, 8, 8), torch.nan)}, "its sealed inputs hold NaN or infinity"),
    ],
)
def test_a_truth_that_cannot_be_meant_is_left_out(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    store = SealedStore(tmp_path / "sealed")
    store(replace(store.load("mine/r001-c000"), **changes))
    audit(tmp_path, "attack.iterations=1")
    (told,) = read_manifest(tmp_path)["warnings"]
    assert re.match(f"mine/r001-c000: .*{reason}.* This client is attacked and not scored", told)
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c001"}


def test_a_seal_that_is_no_record_is_left_out(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    (tmp_path / "sealed" / "mine" / "r001-c000.safetensors").write_bytes(b"garbage")
    audit(tmp_path, "attack.iterations=1")
    (told,) = read_manifest(tmp_path)["warnings"]
    assert "r001-c000.safetensors: expected a SealedBatch" in told
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c001"}


@pytest.mark.parametrize("facts", [{"batch_size": None}, {"kind": "delta", "learning_rate": 0.1, "epochs": 1}])
def test_a_client_that_tells_of_a_giant_number_of_examples_costs_its_own_answers(
    facts: dict[str, Any], tmp_path: Path
) -> None:
    leave_captures(tmp_path, sealed=2, count=2)
    store = CaptureStore(tmp_path / "captures")
    store(replace(store.load("mine/r001-c000"), **{"num_examples": 10**7, "batch_size": 16, **facts}))
    audit(tmp_path, "attack.iterations=1")
    (told,) = read_manifest(tmp_path)["warnings"]
    assert told.startswith("mine/r001-c000: expected an update of at most ")
    assert told.endswith("This client is left out.")
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c001"}
    store(replace(store.load("mine/r001-c001"), num_examples=10**7, batch_size=None))
    with pytest.raises(ConfigError, match="mine/r001-c000: expected an update of at most"):
        audit(tmp_path)


def test_pictures_smaller_than_the_window_of_ssim_are_audited(tmp_path: Path) -> None:
    """Rows of a table as 1x1xF, say: all but SSIM is scored, and the report says why that is not."""
    spec = ModelSpec("mlp", InputSpec(channels=1, height=1, width=14, classes=4), hidden=8)
    inputs, labels = torch.rand(1, 1, 1, 14, generator=torch.Generator().manual_seed(0)), torch.tensor([1])
    capture = capture_gradient(spec, parameters_of(build_model(spec, seed=1)), inputs, labels)
    CaptureStore(tmp_path / "captures")(capture)
    SealedStore(tmp_path / "sealed")(SealedBatch(capture.id, inputs[:, 0, 0], labels))
    page = audit(tmp_path, "attack.iterations=60").read_text()
    (row,) = (row for row in read_scores(tmp_path / "scores.csv") if not row.is_control)
    assert (row.ssim, row.recognisable, row.label_found) == (None, None, True)
    assert row.psnr_db is not None
    assert row.psnr_db > 0
    assert "SSIM is not defined for pictures smaller than its window" in page
    assert "by MSE, since SSIM is not defined" in read_summary(tmp_path / "summary.json").cells[0].reason


def test_what_the_server_did_not_tell_can_be_assumed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    store = CaptureStore(tmp_path / "captures")
    gradient = store.load("mine/r001-c000")
    delta = {name: -0.5 * entries for name, entries in gradient.update.items()}
    store(replace(gradient, update=delta, kind="delta", learning_rate=None, local_steps=None, batch_size=None))
    with pytest.raises(ConfigError, match=r"no learning_rate and no local_steps .* no batch_size .* --set assumed\."):
        audit(tmp_path, "attack.iterations=60")
    told = ("assumed.learning_rate=0.5", "assumed.local_steps=1", "assumed.batch_size=1", "seed=1")
    audit(tmp_path, "attack.iterations=60", *told)
    (row,) = (row for row in read_scores(tmp_path / "scores.csv") if not row.is_control)
    assert (row.solved, row.adversary) == (True, "C")
    store(replace(store.load("mine/r001-c000"), learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"assumed\.learning_rate: 0.4 is assumed, but .* 0\.5"):
        audit(tmp_path, "assumed.learning_rate=0.4", "assumed.local_steps=1", "assumed.batch_size=1")


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("attack=idlgg", "'idlgg' is not known. Did you mean 'idlg'?"),
        ("attack.efort=quick", "attack.efort: unknown key. Did you mean 'effort'?"),
        ("assumed.learnig_rate=1", "assumed.learnig_rate: unknown key. Did you mean 'learning_rate'?"),
        ("assumed.local_steps=0", "assumed.local_steps: "),
    ],
)
def test_a_wrong_setting_is_named(assignment: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_audit([assignment])
    assert text in str(caught.value)


def test_a_folder_without_captures_tells_how_they_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected captures, found none\. Record them with CuriousGrid"):
        audit(tmp_path)


def test_the_command_imports_a_model_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(MODULE)
    code = (
        "import my_models; from pathlib import Path; from tests.judges.bench.test_audit import *; "
        "leave_captures(Path('mine'), 2, 2, ModelSpec('foreign_net', SPEC.input))"
    )
    assert programs.run("-c", code, cwd=tmp_path).returncode == 0
    unknown = programs.run(programs.COMMAND, "audit", "mine", cwd=tmp_path)
    assert unknown.returncode == ConfigError.exit_code
    assert "its model 'foreign_net' is in no table" in unknown.stderr
    missing = programs.run(programs.COMMAND, "audit", "mine", "--import", "my_model", cwd=tmp_path)
    assert missing.returncode == ConfigError.exit_code
    assert "--import my_model: cannot be imported" in missing.stderr
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    leaves = programs.run(programs.COMMAND, "audit", "mine", "--import", "leaves", cwd=tmp_path)
    assert leaves.returncode == ConfigError.exit_code
    assert "--import leaves: cannot be imported (SystemExit: 0) (leaves.py, line 2: sys.exit(0))" in leaves.stderr
    told = ("--import", "my_models", "--set", "attack=idlg", "--set", "attack.iterations=30", "--set", "checks=0")
    done = programs.run(programs.COMMAND, "audit", "mine", *told, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("report: file://")
    assert {row.model for row in read_scores(tmp_path / "mine" / "scores.csv")} == {"foreign_net"}
    assert json.loads((tmp_path / "mine" / "manifest.json").read_text())["title"] == "mine"
    again = programs.run(programs.COMMAND, "report", "mine", cwd=tmp_path)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, done.stdout.splitlines()[-1])


def leave_a_batch(folder: Path, size: int = 3, *, spec: ModelSpec = SPEC) -> None:
    """Leave one captured update of a batch, and its truth."""
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.rand(size, 1, 8, 8, generator=generator), torch.arange(size) % 4
    capture = capture_gradient(spec, parameters_of(build_model(spec, seed=0)), inputs, labels)
    CaptureStore(folder / "captures")(replace(capture, id="mine/r001-c000"))
    SealedStore(folder / "sealed")(SealedBatch("mine/r001-c000", inputs, labels))


def test_a_batch_that_is_too_large_is_a_result(tmp_path: Path) -> None:
    leave_a_batch(tmp_path)
    audit(tmp_path, "attack=idlg", "attack.most_examples=2")
    rows = [row for row in read_scores(tmp_path / "scores.csv") if not row.is_control]
    assert [row.stop_reason for row in rows] == ["not attempted"] * 3
    assert [row.label_found for row in rows] == [True] * 3
    (cell,) = (cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.control)
    assert (cell.verdict, cell.label_accuracy) == ("not attempted", 1.0)
    assert "only labels of 3 of 3" in (tmp_path / "report.md").read_text()
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert warning.startswith("idlg does not look for the inputs behind 1 of 1 update, which tell of up to 3 examples")
    statement = write_attack_statement(tmp_path).with_suffix(".md").read_text()
    assert "there are too many of them behind the one scored update" in statement
    assert "- **Updates:** 1 update of 3 examples captured, 1 update with 3 examples scored" in statement
    assert "sealed truth, of which an attack looked for none, in 1 round\n" in statement
    assert "- **Classes:** examples of each: 0:\N{NO-BREAK SPACE}1" in statement
    assert "- **Labels:** certain in 1 of 1 update\n" in statement
    assert re.search(r"\| A \| iDLG \| 0 \| [\d.]+ \| \N{EN DASH} \| \N{EN DASH} \| 100", statement)
    assert "not tried: A (the update only); B" in statement
    assert "What the updates suggest" not in statement
    report = (tmp_path / "report.md").read_text()
    assert not re.search(r"\d attacked example|examples attacked|\b1 updates", statement + report)
    assert "3 scored examples in 1 cell of data, model and attack. The attacks looked for none of them" in report
    assert "No attack looked for inputs here, and nothing follows" in (tmp_path / "report.html").read_text()


def test_an_audit_says_beforehand_how_long_it_takes_at_most(tmp_path: Path) -> None:
    leave_a_batch(tmp_path)
    capture = CaptureStore(tmp_path / "captures").load("mine/r001-c000")
    settings = ["attack=idlg", "attack.iterations=2", "attack.inner_iterations=4", "attack.restarts=0"]
    told = cost(read_audit(settings).cells, [(capture, 1)])
    assert re.match(r"the attacks take at most .+ of one core here \(10 evaluations an update at most\)", told)
    assert cost(read_audit([*settings, "attack.most_examples=2"]).cells, [(capture, 1)]) == ""


def test_an_attack_on_the_wrong_problem_is_no_failed_attack(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=3)
    audit(tmp_path, "attack.iterations=2", "assumed.reduction=sum", "assumed.loss_scale=3.0")
    (cell,) = (cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.control)
    assert cell.verdict == "wrong problem"
    assert all(row.mismatch == pytest.approx(2.0, rel=1e-3) for row in read_scores(tmp_path / "scores.csv"))
    (warning,) = read_manifest(tmp_path)["warnings"]
    assert warning.startswith("for 3 of 3 updates the attack is pointed at the wrong problem")
    audit(tmp_path, "attack.iterations=2")
    assert max(row.mismatch or 0.0 for row in read_scores(tmp_path / "scores.csv")) < 1e-5


def test_texts_are_scored_by_their_tokens_and_shown_as_numbers(tmp_path: Path) -> None:
    """The client seals its tokens."""
    entry = zoo.ZOO["lstm_words"]
    entry = replace(entry, input=replace(entry.input, height=5))
    capture, inputs, labels = zoo.capture_of(entry, 0, 1)
    tokens = inputs.argmax(-1)[:, 0]
    CaptureStore(tmp_path / "captures")(replace(capture, id="mine/r001-c000"))
    SealedStore(tmp_path / "sealed")(SealedBatch("mine/r001-c000", tokens, labels))
    with zoo.in_table(entry):
        page = audit(tmp_path, "attack=idlg", "attack.iterations=20").read_text()
    rows = read_scores(tmp_path / "scores.csv")
    assert [row.control for row in rows] == ["", "no-op"]
    assert (rows[0].token_accuracy, rows[0].tokens_found, rows[0].solved) == (1.0, 1.0, True)
    assert rows[0].mismatch is not None
    assert rows[0].mismatch < 1e-5
    (cell, _) = read_summary(tmp_path / "summary.json").cells
    assert (cell.verdict, cell.token_accuracy, cell.psnr_db) == ("recovered", 1.0, None)
    told = " ".join(map(str, tokens.flatten().tolist()))
    assert f"best | {told} | {told} |" in (tmp_path / "report.md").read_text()
    assert "Still images" not in page
    assert "SSIM is not defined for pictures" not in page
    assert 'alt="reconstruction of' not in page
    assert "took tokens (1, 5) of int64 as one-hot" in read_manifest(tmp_path)["converted"][0]
    assert verify(tmp_path).is_sound


def test_a_regression_is_scored_without_classes(tmp_path: Path) -> None:
    """Its target is a real number: DLG finds it with the row, and neither is taken for class 0."""
    entry = zoo.ZOO["regression"]
    store, sealed = CaptureStore(tmp_path / "captures"), SealedStore(tmp_path / "sealed")
    with zoo.in_table(entry):
        for seed, target in enumerate((0.37, 3.0)):
            inputs, _ = zoo.examples_of(entry, seed, 1)
            labels = torch.tensor([target])
            capture = replace(zoo.capture_of(entry, seed, examples=(inputs, labels))[0], id=f"mine/r001-c{seed:03d}")
            store(capture)
            sealed(SealedBatch(capture.id, inputs, labels))
        audit(tmp_path, "attack=dlg", "attack.iterations=100", "attack.tolerance_change=0")
    first, second = (row for row in read_scores(tmp_path / "scores.csv") if not row.is_control)
    assert (first.label, first.label_recovered, first.label_correct) == (-1, -1, False)
    assert (second.label, second.label_recovered, second.label_correct) == (3, 3, True)
    assert max(first.mse, second.mse) < 1e-4
    assert max(first.mismatch or 0.0, second.mismatch or 0.0) < 1e-6
