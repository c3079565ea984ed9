"""Every shipped experiment runs from end to end at its smallest scale."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fl_sim.datasets import info
from judges.bench.execution import run_plan
from judges.kinds import RunPlan, read_plan
from judges.plans.gradient_inversion import Plan
from judges.plans.membership import MembershipPlan
from judges.plans.model_inversion import InversionPlan
from judges.plans.rounds import RoundsPlan
from judges.progress import Watch
from judges.runs.rows import read_scores
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.membership import read_memberships
from judges.summaries.model_inversion import read_inversions

CONFIGS = Path(__file__).parents[1] / "configs"
SCALED = [path for path in sorted(CONFIGS.glob("*.toml")) if "scales" in tomllib.loads(path.read_text("utf-8"))]

LONG = {
    "brainleaks",
    "figure3",
    "figure4",
    "figure5",
    "grnn_mnist",
    "quantisation",
    "rounds",
    "table4",
    "table5",
    "tradeoff",
}
"""Configs whose smallest scale takes more than about twenty seconds."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that starts empty and that all configs share, as a user's do."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.endurance] * (path.stem in LONG)) for path in SCALED],
)
def test_the_smoke_scale_runs_every_cell(
    path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKELEAK_CACHE", str(cache))
    plan = read_plan(path, ["scale=smoke"])
    for name in _datasets(plan):
        places = info(name).candidates
        if places and not any(place.found for place in places):
            pytest.skip(f"the data set {name} is not here; set SPIKELEAK_DATA")
    page = run_plan(plan, tmp_path / "run", Watch())
    assert "<html" in page.read_text(encoding="utf-8")
    if isinstance(plan, RoundsPlan):
        for threat, part in plan.parts.items():
            _check(part, tmp_path / "run" / threat)
    else:
        _check(plan, tmp_path / "run")


def _datasets(plan: RunPlan) -> set[str]:
    """Return the names of the data sets of an experiment."""
    if isinstance(plan, RoundsPlan):
        return {name for part in plan.parts.values() for name in _datasets(part)}
    assert isinstance(plan, Plan | InversionPlan | MembershipPlan)
    return {one.config.dataset.name for one in (plan.federations if isinstance(plan, Plan) else plan.targets)}


def _check(plan: RunPlan, folder: Path) -> None:
    """Check that every cell is in the folder of a run."""
    if isinstance(plan, Plan):
        _check_gradients(plan, folder)
    elif isinstance(plan, InversionPlan):
        _check_inversions(plan, folder)
    else:
        assert isinstance(plan, MembershipPlan)
        _check_memberships(plan, folder)


def _check_gradients(plan: Plan, folder: Path) -> None:
    summary = read_summary(folder / "summary.json")
    assert {cell.cell for cell in summary.cells if not cell.control} == {cell.name for cell in plan.cells}
    assert {row.n for row in summary.cells} <= {2, 2 * plan.base.federation.rounds}
    assert bool(summary.distances) == bool(plan.base.class_distances)
    if plan.cells:
        rows = read_scores(folder / "scores.csv")
        assert all(row.judge_correct is not None for row in rows) == (plan.base.judge.name != "none")


def _check_inversions(plan: InversionPlan, folder: Path) -> None:
    summary = read_inversions(folder / "summary.json")
    groups = {target.label: target.attacked.group for target in plan.targets}
    attacked = {(cell.group, cell.attack, tuple(cell.attack_settings.items())) for cell in summary.cells
                if not cell.is_control}  # fmt: skip
    assert attacked == {(groups[cell.target], cell.attack, tuple(cell.varied.items())) for cell in plan.cells}
    kept = {1} if plan.base.target == "central" else set(range(plan.base.federation.rounds + 1))
    assert {target.round for target in summary.targets} == kept


def _check_memberships(plan: MembershipPlan, folder: Path) -> None:
    cells = [cell for cell in read_memberships(folder / "summary.json").cells if not cell.is_control]
    if plan.base.target == "central":
        assert {cell.cell for cell in cells} == {cell.name for cell in plan.cells}
    else:  # each round's model, and its updates, are attacked by each attack
        assert {(cell.model, cell.attack) for cell in cells} == {
            (target.config.model.name, cell.attack) for target in plan.targets for cell in plan.attacks_on(target)
        }
