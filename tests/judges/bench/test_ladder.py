"""`--ladder`: every rung is attacked and scored in a folder of its own, and the page says what protects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fl_sim.captures import CaptureStore
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import InputSpec, ModelSpec
from judges.bench.audit.ladder import climb
from judges.bench.execution import run_plan
from judges.plans.audit import read_audit
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.manifest import LADDER
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from tests.judges.bench.test_audit import leave_a_batch, leave_captures
from tests.judges.bench.test_gradient_inversion import RAW, quiet

pytestmark = pytest.mark.endurance

SETTINGS = ("attack=idlg", "attack.iterations=60", "checks=0", "ladder.examples=3")


def test_an_audit_climbs_to_what_was_captured(tmp_path: Path) -> None:
    leave_a_batch(tmp_path)
    plan = read_audit(SETTINGS)
    run_plan(plan, tmp_path, quiet())
    page = climb(plan, tmp_path, quiet(), options=None)
    assert page == (tmp_path / LADDER / "report.html").resolve()
    attacks = [row for row in read_scores(tmp_path / LADDER / "scores.csv") if not row.is_control]
    assert [row.varied["rung"] for row in attacks] == [
        *["1: one example"] * 3, *["2: batch of 3"] * 3, *["3: weights as sent"] * 3
    ]  # fmt: skip
    assert any(row.solved for row in attacks[:3])
    assert all(row.label_correct for row in attacks[:3])
    own = CaptureStore(tmp_path / "captures").load("mine/r001-c000")
    top = CaptureStore(tmp_path / LADDER / "captures").load(attacks[-1].capture_id)
    assert all(torch.equal(top.update[name], value) for name, value in own.update.items())
    text = page.read_text(encoding="utf-8")
    assert "From the attacker&#39;s best case to the clients&#39; setting" in text
    assert "On the ladder (" in text
    before = (tmp_path / LADDER / "scores.csv").read_bytes()
    answers = {path: path.stat().st_mtime_ns for path in (tmp_path / LADDER / "reconstructions").rglob("*.safetensors")}
    climb(plan, tmp_path, quiet(), options=None)
    assert (tmp_path / LADDER / "scores.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in answers} == answers


def test_a_run_climbs_too(tmp_path: Path) -> None:
    raw = RAW | {"ladder": {"examples": 2}}
    plan = make_plan(raw)
    run_plan(plan, tmp_path, quiet())
    climb(plan, tmp_path, quiet(), options=None)
    cells = [cell for cell in read_summary(tmp_path / LADDER / "summary.json").cells if not cell.is_control]
    assert {cell.model for cell in cells} == {cell.attacked.model for cell in plan.federations}
    assert {cell.varied["rung"] for cell in cells} == {"1: one example", "2: weights as sent"}


def test_a_network_of_the_owners_is_untrained_as_they_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "own", ModelEntry(f"{__name__}:own", spiking=False, summary="own"))
    leave_a_batch(tmp_path, spec=ModelSpec("own", InputSpec(1, 8, 8, 4)))
    plan = read_audit(("attack=idlg", "attack.iterations=1", "checks=0", "ladder.examples=1"))
    run_plan(plan, tmp_path, quiet())
    climb(plan, tmp_path, quiet(), options=None)
    lowest = CaptureStore(tmp_path / LADDER / "captures").load("rung-001/r001-c000")
    assert float(lowest.parameters["1.weight"].abs().max()) <= 1 / 8  # torch's own bound for 64 inputs


def own(spec: ModelSpec) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, spec.input.classes))


def test_the_rungs_need_the_truth(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=0, count=1)
    with pytest.raises(ConfigError, match="computed from what the clients sealed"):
        climb(read_audit(SETTINGS), tmp_path, Watch.silent(), options=None)
