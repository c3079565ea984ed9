"""Every shipped experiment runs from end to end at its smallest scale."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fl_sim.datasets import info
from judges.bench import run_experiment
from judges.experiment import read_plan
from judges.progress import Watch
from judges.rows import read_scores
from judges.summary import read_summary

CONFIGS = Path(__file__).parents[1] / "configs"
SCALED = [path for path in sorted(CONFIGS.glob("*.toml")) if "scales" in tomllib.loads(path.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", SCALED, ids=[path.stem for path in SCALED])
def test_the_smoke_scale_runs_every_cell(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(tmp_path / "cache"))
    plan = read_plan(path, ["scale=smoke"])
    for name in {federation.config.dataset.name for federation in plan.federations}:
        places = info(name).candidates
        if places and not any(place.found for place in places):
            pytest.skip(f"the data set {name} is not here; set SPIKELEAK_DATA")
    page = run_experiment(plan, tmp_path / "run", Watch())
    summary = read_summary(page.parent / "summary.json")
    assert {cell.cell for cell in summary.cells if not cell.control} == {cell.name for cell in plan.cells}
    assert {row.n for row in summary.cells} <= {2}
    assert bool(summary.distances) == bool(plan.base.class_distances)
    if plan.cells:
        rows = read_scores(page.parent / "scores.csv")
        assert all(row.judge_correct is not None for row in rows) == (plan.base.judge.name != "none")
    assert "<html" in page.read_text(encoding="utf-8")
