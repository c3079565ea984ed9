"""The table of results of model inversions as a terminal shows it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from judges.report.console import Line, grouped_table
from judges.report.gradient_inversion.wording import per_cent, rate_interval
from judges.report.model_inversion.wording import spread
from judges.runs.names import attack_name, target_name
from judges.summaries.model_inversion import Inversions, InversionSummary, read_inversions

_COLUMNS = ("attack", "n", "accuracy %", "[95 %]", "top-3", "conf.", "DAA", "target", "verdict")
_LEFT = ("attack", "verdict")


def results_of_inversions(run_dir: Path) -> Table:
    """Return the table of results of a run of model inversion."""
    return inversion_table(read_inversions(run_dir / "summary.json"))


def inversion_table(summary: Inversions) -> Table:
    """Return one line for each attack and control, grouped by what was attacked, whose accuracy stands beside it.

    Shares are out of 100; "conf." is the judge's mean confidence in the class, "target" that of the model attacked.
    Deviations are over attacks with other seeds; those over draws of one answer are in the report.
    """
    tested = {target.target: spread(target.accuracy, target.accuracy_std) for target in summary.targets}
    lines = []
    for cell in summary.cells:
        name = f"{target_name(cell.target)}\ntest accuracy {tested[cell.target]}"
        lines.append(Line(name, _row(cell), cell.is_control))
    return grouped_table(_COLUMNS, _LEFT, lines)


def _row(cell: InversionSummary) -> tuple[str, ...]:
    """Return the cells of one line."""
    mean, std = cell.scores.mean, cell.scores.std
    lost = f", {cell.diverged} diverged" if cell.diverged else ""
    return (
        f"  {'control: ' if cell.control else ''}{attack_name(cell)}",
        str(cell.accuracy.of),
        spread(mean.attack_accuracy, std.attack_accuracy if std else None),
        rate_interval(cell.accuracy),
        per_cent(mean.top3),
        per_cent(mean.confidence),
        per_cent(mean.daa),
        "" if cell.control else per_cent(cell.target_confidence),
        "" if cell.control else f"{cell.verdict}{lost}",
    )
