"""The cells of a run of model inversion, as other tools get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attacks import MODEL_INVERSIONS
from fl_sim.config import flatten
from judges.export.cells import ExportedCell, drawn, finite, identity, of_attack, plain, way
from judges.plans.model_inversion import InversionPlan
from judges.runs.manifest import GALLERY
from judges.runs.pictures import load_pictures
from judges.summaries.model_inversion import InversionSummary, read_inversions


def cells_of_inversions(
    plan: InversionPlan, run_dir: Path, _manifest: Mapping[str, Any], shown: Callable[[str], bool]
) -> Iterator[ExportedCell]:
    """Yield the cells of a run of model inversion; see `judges.export.cells.cells_of_attacks`."""
    summary = read_inversions(run_dir / "summary.json")
    galleries = {one.key: one for one in load_pictures(run_dir / GALLERY)}
    targets = {target.attacked.group: flatten(target.config) for target in plan.targets}
    attacks = {way(cell.attack, cell.varied): cell.settings for cell in plan.cells}
    for cell in summary.cells:
        settings = attacks.get(way(cell.attack, cell.attack_settings))
        pictures = galleries.get((cell.group, cell.cell))
        yield ExportedCell(
            cell.cell,
            cell.round,
            identity(cell)
            | {"source": cell.source, "judge": cell.judge}
            | plain(targets.get(cell.group, {}))
            | of_attack(MODEL_INVERSIONS, cell.attack, None if cell.is_control else settings),
            dict(finite(_inversion_numbers(cell))),
            {"verdict": cell.verdict, "reason": cell.reason},
            dict(drawn(pictures)) if pictures and shown(cell.dataset) else {},
        )


def _inversion_numbers(cell: InversionSummary) -> dict[str, float | None]:
    same = (
        "convinced", "target_confidence", "diverged", "density", "zeros", "nearest_train", "nearest_test", "iterations",
        "seconds", "targets", "repeats", "classes",
    )  # fmt: skip
    drawn = asdict(cell.draws.mean) if cell.draws else {}
    return {
        **asdict(cell.scores.mean),
        **{f"draws_{name}": value for name, value in drawn.items()},
        **{name: getattr(cell, name) for name in same},
        "nearer_train": cell.nearer_train.share,
        "nearest_ssim": cell.nearest_ssim,
        **_transfer_numbers(cell),
    }


def _transfer_numbers(cell: InversionSummary) -> dict[str, float | None]:
    """Return what the attacked model and further targets make of the answers; {} where these were not tried."""
    if cell.transfer is None:
        return {}
    told = cell.transfer
    return {
        "own_success": told.own.share,
        "own_confidence": told.own_confidence,
        "second_targets": told.targets,
        "second_success": told.second.share,
        "second_confidence": told.second_confidence,
    }
