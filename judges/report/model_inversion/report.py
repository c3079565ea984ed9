"""The run folder of a model inversion -> one self-contained HTML page and the same tables in Markdown.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json and gallery/*.safetensors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.report.figures import Point, strip_figure
from judges.report.model_inversion import wording
from judges.report.model_inversion.accuracies import judge_rows, target_rows
from judges.report.model_inversion.figures import Rounds, rounds_figure
from judges.report.model_inversion.findings import findings
from judges.report.model_inversion.pictures import load_albums, picture_blocks
from judges.report.model_inversion.tables import (
    Federation,
    compared_blocks,
    control_blocks,
    federations,
    last_rounds,
    memory_blocks,
    record_blocks,
    spiking_blocks,
)
from judges.report.page import write_page
from judges.runs.class_rows import ClassScore
from judges.runs.identity import REAL
from judges.runs.manifest import read_manifest, without_people
from judges.runs.names import CONTROL, attack_name, model_name, network, target_name
from judges.runs.tables import read_rows
from judges.summaries.model_inversion import Inversions, judge_key, read_inversions


@dataclass(frozen=True)
class FederationSection:
    """A federation with its figure, a data URI, and what that shows in words."""

    told: Federation
    figure: str
    alt: str


def write_inversion_report(run_dir: Path, *, show_faces: bool = False) -> Path:
    """Write report.html, report.md and report.tex into the folder of a run and return the path of the HTML page.

    Pictures of a data set are shown only where the manifest says that it shows no people
    (`datasets.NAME.people = false`), or with `show_faces`.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and gallery/*.safetensors if any.
        show_faces: show the pictures of real people too.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest = read_manifest(run_dir)
    summary = read_inversions(run_dir / "summary.json")
    rows = read_rows(ClassScore, run_dir / "scores.csv")
    albums = load_albums(run_dir / "gallery", summary)
    context: dict[str, Any] = {
        "threat_model": wording.THREAT_MODEL,
        "findings": findings(summary),
        "targets": target_rows(summary),
        "classifiers": judge_rows(summary),
        "spiking": spiking_blocks(summary),
        "compared": compared_blocks(summary),
        "controls": control_blocks(summary),
        "federations": [_federation(told) for told in federations(summary)],
        "pictures": picture_blocks(albums, summary, lambda name: show_faces or without_people(manifest, name)),
        "memory": memory_blocks(summary),
        "real": REAL,
        "record": record_blocks(summary),
        "summary": summary,
        "ceilings": _ceilings(summary),
        "scored": len(rows),
        "strips": list(_strips(rows, summary)),
        "definitions": wording.DEFINITIONS,
    }
    words: dict[str, Any] = {name: getattr(wording, name) for name in ("count_of", "spread", "tone")}
    names: dict[str, Any] = {"attack_name": attack_name, "model_name": model_name, "network": network}
    return write_page(run_dir, "inversion", manifest, context, {**words, **names})


def _federation(told: Federation) -> FederationSection:
    """Return a federation with its figure: a panel each network."""
    panels = []
    for own in {target.group: target for target in told.targets}.values():
        accuracy, confidence = defaultdict[str, list[Point]](list), defaultdict[str, list[Point]](list)
        for _, row in told.rows:
            cell = row.cell
            if cell.group == own.group:
                interval = cell.accuracy.low, cell.accuracy.high
                accuracy[row.title].append(Point(cell.round, cell.accuracy.share, interval))
                confidence[row.title].append(Point(cell.round, cell.scores.mean.confidence, None))
        tested = [Point(target.round, target.accuracy, None) for target in told.targets if target.group == own.group]
        panels.append(Rounds(f"{network(own.spiking)} {model_name(own)}", tested, accuracy, confidence))
    panels.sort(key=lambda panel: panel.title)  # ANN before SNN
    names = ", ".join(panel.title for panel in panels)
    alt = f"attack accuracy, judge's confidence and test accuracy against the round, {told.dataset}: {names}"
    return FederationSection(told, rounds_figure(panels), alt)


def _strips(rows: Sequence[ClassScore], summary: Inversions) -> Iterator[tuple[str, str]]:
    """Yield the judge's confidence in every answer, by target, as a figure; of a federation's, of the last round."""
    last = last_rounds(summary)
    for target in dict.fromkeys(row.target for row in rows if row.target in last):
        values: dict[str, list[float]] = {}
        for row in sorted((row for row in rows if row.target == target), key=lambda row: row.is_control):
            name = f"{CONTROL if row.is_control else ''}{attack_name(row)}"
            values.setdefault(name, []).append(row.confidence)
        figure = strip_figure(values, threshold=None, measure="judge's confidence", unit="answer")
        yield target_name(target), figure


def _ceilings(summary: Inversions) -> dict[str, float | None]:
    """Return each judge's accuracy on the real examples beside the attacks, where it was measured."""
    real = {judge_key(cell.dataset, cell.judge): cell.accuracy.share for cell in summary.cells if cell.control == REAL}
    return {name: real.get(name) for name in summary.judges}
