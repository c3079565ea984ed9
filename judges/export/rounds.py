"""The curves of a run over rounds for other tools: a cell for each curve and round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from judges.export.cells import ExportedCell, subject
from judges.plans.rounds import RoundsPlan
from judges.summaries.rounds import read_rounds


def cells_of_rounds(
    _plan: RoundsPlan, run_dir: Path, _manifest: Mapping[str, Any], _shown: Callable[[str], bool]
) -> Iterator[ExportedCell]:
    """Yield the points of all curves; the arguments are those of `judges.export.cells.cells_of_attacks`."""
    for curve in read_rounds(run_dir / "summary.json").curves:
        settings = {**subject(curve), "threat": curve.threat or "none", "attack": curve.line}
        for point in curve.points:
            yield ExportedCell(curve.cell, point.round, settings, {curve.measure: point.value, "n": point.n}, {})
