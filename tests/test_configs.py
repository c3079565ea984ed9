"""Every shipped experiment runs from end to end at its smallest scale."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fl_sim.datasets import info
from judges.bench.execution import run_plan
from judges.kinds import read_plan
from judges.plans.gradient_inversion import Plan
from judges.plans.membership import MembershipPlan
from judges.plans.model_inversion import InversionPlan
from judges.progress import Watch
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.membership import read_memberships
from judges.summaries.model_inversion import read_inversions

CONFIGS = Path(__file__).parents[1] / "configs"
SCALED = [path for path in sorted(CONFIGS.glob("*.toml")) if "scales" in tomllib.loads(path.read_text("utf-8"))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that starts empty and that all configs share, as a user's do."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("path", SCALED, ids=[path.stem for path in SCALED])
def test_the_smoke_scale_runs_every_cell(
    path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(cache))
    plan = read_plan(path, ["scale=smoke"])
    assert isinstance(plan, Plan | InversionPlan | MembershipPlan)
    attacked = plan.federations if isinstance(plan, Plan) else plan.targets
    for name in {one.config.dataset.name for one in attacked}:
        places = info(name).candidates
        if places and not any(place.found for place in places):
            pytest.skip(f"the data set {name} is not here; set SPIKELEAK_DATA")
    if isinstance(plan, MembershipPlan):
        page = _infer(plan, tmp_path / "run")
    else:
        page = _run(plan, tmp_path / "run") if isinstance(plan, Plan) else _invert(plan, tmp_path / "run")
    assert "<html" in page.read_text(encoding="utf-8")


def _run(plan: Plan, folder: Path) -> Path:
    """Run an experiment of gradient inversion and check that every cell is there."""
    page = run_plan(plan, folder, Watch())
    summary = read_summary(folder / "summary.json")
    assert {cell.cell for cell in summary.cells if not cell.control} == {cell.name for cell in plan.cells}
    assert {row.n for row in summary.cells} <= {2}
    assert bool(summary.distances) == bool(plan.base.class_distances)
    if plan.cells:
        rows = read_scores(folder / "scores.csv")
        assert all(row.judge_correct is not None for row in rows) == (plan.base.judge.name != "none")
    return page


def _invert(plan: InversionPlan, folder: Path) -> Path:
    """Run an experiment of model inversion and check that every cell is there."""
    page = run_plan(plan, folder, Watch())
    summary = read_inversions(folder / "summary.json")
    groups = {target.label: target.attacked.group for target in plan.targets}
    attacked = {(cell.group, cell.attack, tuple(cell.attack_settings.items())) for cell in summary.cells
                if not cell.is_control}  # fmt: skip
    assert attacked == {(groups[cell.target], cell.attack, tuple(cell.varied.items())) for cell in plan.cells}
    assert {target.round for target in summary.targets} == ({1} if plan.base.target == "central" else {0, 1, 2})
    return page


def _infer(plan: MembershipPlan, folder: Path) -> Path:
    """Run an experiment of membership inference and check that every cell is there."""
    page = run_plan(plan, folder, Watch())
    cells = {cell.cell for cell in read_memberships(folder / "summary.json").cells if not cell.is_control}
    assert cells == {cell.name for cell in plan.cells}
    return page
