"""The same work on a GPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attacks import ATTACKS, build_attack
from judges.bench.execution import run_plan
from judges.plans.gradient_inversion import make_plan
from judges.progress import Watch
from judges.runs.rows import read_scores
from tests.attacks.helpers import LENET, SPIKING_LENET, captures_of, truth

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("model", [LENET, SPIKING_LENET], ids=["lenet", "spiking_lenet"])
def test_an_attack_answers_as_on_the_cpu(name: str, model: object) -> None:
    inputs, labels = truth(3)
    captures = captures_of(model, inputs, labels)  # type: ignore[arg-type]
    short = {"steps" if name == "grnn" else "iterations": 1, "precision": "float64"}
    here = build_attack(name, short).reconstruct(captures, seed=0)
    there = build_attack(name, short).reconstruct(captures, seed=0, device="cuda")
    for cpu, gpu in zip(here, there, strict=True):
        assert gpu.inputs.device.type == "cpu"
        torch.testing.assert_close(gpu.inputs, cpu.inputs, rtol=1e-4, atol=1e-5)


def test_a_whole_experiment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    raw = {"name": "gpu", "device": "cuda", "attack": {"name": "idlg", "iterations": 2}, "judge": {"max_epochs": 1}}
    page = run_plan(make_plan(raw), tmp_path / "run", Watch())
    assert {row.judge_correct is None for row in read_scores(page.parent / "scores.csv")} == {False}
