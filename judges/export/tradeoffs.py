"""Utility beside leak for other tools: a cell for each setting of a defence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from judges.export.cells import ExportedCell, cells_of_attacks, subject
from judges.plans.gradient_inversion import Plan
from judges.runs.names import control_cell, group_name
from judges.summaries.gradient_inversion import Summary, read_summary
from judges.summaries.tradeoff import Setting, tradeoffs


def cells_of_experiments(
    plan: Plan, run_dir: Path, manifest: Mapping[str, Any], shown: Callable[[str], bool]
) -> Iterator[ExportedCell]:
    """Yield the cells of a run of gradient inversion, then its settings of defences; see `cells_of_attacks`."""
    yield from cells_of_attacks(plan, run_dir, manifest, shown)
    yield from cells_of_tradeoffs(read_summary(run_dir / "summary.json"))


def cells_of_tradeoffs(summary: Summary) -> Iterator[ExportedCell]:
    """Yield each setting with its accuracy and the strongest leak of each letter; nothing without two settings."""
    for board in tradeoffs(summary):
        for one in board.settings:
            name = control_cell(group_name(one), "utility beside leak")
            yield ExportedCell(name, one.round, subject(one), _numbers(one), {"verdict": one.verdict})


def _numbers(one: Setting) -> dict[str, float]:
    low, high = one.interval
    leaks = {f"leak_{leak.adversary or 'unknown'}": leak.similarity for leak in one.leaks}
    front = {"on_front": float(one.on_front)}
    return {"accuracy": one.accuracy, "accuracy_low": low, "accuracy_high": high, **leaks, **front}
