"""The cells of a run of membership inference, as other tools get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attacks import MEMBERSHIP_INFERENCES
from fl_sim.config import flatten
from judges.export.cells import ExportedCell, finite, identity, of_attack, plain, way
from judges.plans.membership import MembershipPlan
from judges.summaries.membership import MembershipSummary, read_memberships


def cells_of_memberships(
    plan: MembershipPlan, run_dir: Path, _manifest: Mapping[str, Any], _shown: Callable[[str], bool]
) -> Iterator[ExportedCell]:
    """Yield the cells of a run of membership inference; see `judges.export.cells.cells_of_attacks`."""
    targets = {target.attacked.group: flatten(target.config) for target in plan.targets}
    attacks = {way(cell.attack, cell.varied): cell.settings for cell in plan.cells}
    for cell in read_memberships(run_dir / "summary.json").cells:
        settings = attacks.get(way(cell.attack, cell.attack_settings))
        yield ExportedCell(
            cell.cell,
            cell.round,
            identity(cell)
            | {"source": cell.source}
            | plain(targets.get(cell.group, {}))
            | of_attack(MEMBERSHIP_INFERENCES, cell.attack, None if cell.is_control else settings),
            dict(finite(_numbers(cell))),
            {"verdict": cell.verdict, "reason": cell.reason},
        )


def _numbers(cell: MembershipSummary) -> dict[str, float | None]:
    same = ("balanced_accuracy", "units", "shadows", "members", "non_members", "test_accuracy", "train_accuracy",
            "seconds")  # fmt: skip
    return {
        "auc": cell.auc.mean,
        "auc_low": cell.auc.low,
        "auc_high": cell.auc.high,
        "tpr_at_1_percent": cell.caught_1.share if cell.caught_1 else None,
        "tpr_at_0.1_percent": cell.caught_01.share if cell.caught_01 else None,
        "null_auc": cell.null.mean if cell.null else None,
        "blind_auc": cell.blind.mean if cell.blind else None,
        **{name: getattr(cell, name) for name in same},
    }
