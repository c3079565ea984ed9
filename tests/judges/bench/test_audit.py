"""An audit of captures that no experiment of ours made: with a sealed truth, with a part of it, with none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SealedBatch
from fl_sim.training import capture_gradient, parameters_of
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import run_plan
from judges.plans.audit import read_audit
from judges.progress import Watch
from judges.runs.integrity import verify
from judges.runs.manifest import read_manifest
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests import programs
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
    options = EngineOptions(workers=workers)
    return run_plan(read_audit(assignments), folder, Watch.silent(), show_faces=show_faces, options=options)


def test_sealed_captures_are_scored_beside_controls(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=3)
    page = audit(tmp_path, "attack=idlg", "attack.iterations=60").read_text()
    rows = read_scores(tmp_path / "scores.csv")
    assert {row.control for row in rows} == {"", "no-op", "black", "grey"}
    assert {(row.attack, row.guess) for row in rows if row.control == "no-op"} == {("", "normal")}
    (cell,) = (cell for cell in read_summary(tmp_path / "summary.json").cells if not cell.control)
    assert (cell.n, cell.verdict) == (3, "recovered")
    assert all(row.label_correct for row in rows if not row.is_control)
    assert "Truth beside reconstruction" in page
    assert "Answers without a truth" not in page
    assert "Health of the victim" in page
    assert verify(tmp_path).is_sound
    assert read_manifest(tmp_path)["scores_sha256"]


def test_without_a_truth_the_answers_are_shown_and_nothing_is_claimed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=0)
    page = audit(tmp_path, "attack.iterations=5").read_text()
    assert read_scores(tmp_path / "scores.csv") == []
    assert "No attack was scored in this run." in page
    assert page.count('alt="answer to mine/r001-c00') == 3
    assert "| mine/r001-c001 | lenet/idlg | 1 |" in (tmp_path / "report.md").read_text()
    assert verify(tmp_path).is_sound


def test_a_part_of_the_truth_is_scored_and_the_rest_shown(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1)
    page = audit(tmp_path, "attack.iterations=5").read_text()
    assert {row.capture_id for row in read_scores(tmp_path / "scores.csv")} == {"mine/r001-c000"}
    assert page.count('alt="answer to mine/r001-c00') == 2


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
    told = " ".join(read_manifest(tmp_path)["warnings"])
    assert "mine/r001-c000: the gradient of the sealed batch hardly points along the update" in told
    assert "mine/r001-c001: the sealed inputs lie in [-" in told
    assert "mine/r001-c002" not in told
    assert "hardly points along" in (tmp_path / "report.html").read_text()


def test_a_truth_of_another_size_is_refused_before_the_attack(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1)
    store = SealedStore(tmp_path / "sealed")
    truth = store.load("mine/r001-c000")
    store(replace(truth, inputs=truth.inputs.repeat(4, 1, 1, 1), labels=truth.labels.repeat(4)))
    with pytest.raises(DataError, match="its client sealed 4 examples, but batch size times local steps is 1"):
        audit(tmp_path)
    assert not (tmp_path / "reconstructions").exists()


def test_what_the_server_did_not_tell_can_be_assumed(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    store = CaptureStore(tmp_path / "captures")
    gradient = store.load("mine/r001-c000")
    delta = {name: -0.5 * entries for name, entries in gradient.update.items()}
    store(replace(gradient, update=delta, kind="delta", learning_rate=None, local_steps=None, batch_size=None))
    with pytest.raises(ConfigError, match=r"no learning_rate and no local_steps and no batch_size .* --set assumed\."):
        audit(tmp_path, "attack.iterations=60")
    told = ("assumed.learning_rate=0.5", "assumed.local_steps=1", "assumed.batch_size=1")
    audit(tmp_path, "attack.iterations=60", *told)
    assert [row.solved for row in read_scores(tmp_path / "scores.csv") if not row.is_control] == [True]
    store(replace(store.load("mine/r001-c000"), learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"assumed\.learning_rate: 0.4 is assumed, but .* 0\.5"):
        audit(tmp_path, "assumed.learning_rate=0.4", "assumed.local_steps=1", "assumed.batch_size=1")


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("attack=idlgg", "'idlgg' is not known. Did you mean 'idlg'?"),
        ("attack.iteration=1", "attack.iteration: unknown key. Did you mean 'iterations'?"),
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
    done = programs.run(
        programs.COMMAND, "audit", "mine", "--import", "my_models", "--set", "attack.iterations=30", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("report: file://")
    assert {row.model for row in read_scores(tmp_path / "mine" / "scores.csv")} == {"foreign_net"}
    assert json.loads((tmp_path / "mine" / "manifest.json").read_text())["title"] == "mine"
    again = programs.run(programs.COMMAND, "report", "mine", cwd=tmp_path)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, done.stdout.splitlines()[-1])
