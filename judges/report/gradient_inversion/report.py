"""A run folder -> one self-contained HTML page and the same tables in Markdown.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json and gallery/*.safetensors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from judges.report.curves import Sweep, sweep_figure
from judges.report.figures import Point, strip_figure
from judges.report.formats import FILTERS
from judges.report.gradient_inversion import wording
from judges.report.gradient_inversion.answers import answer_panels
from judges.report.gradient_inversion.findings import closeness, findings, observations, spike_verdicts
from judges.report.gradient_inversion.pictures import load_galleries, panel_blocks, sizes
from judges.report.gradient_inversion.tables import (
    PAPER_SHAPE,
    SPIKES_OF_PAPER,
    SpikeTable,
    distance_rows,
    image_blocks,
    paper_guess_l2,
    spike_tables,
)
from judges.report.gradient_inversion.trends import by_round, by_timesteps, distributions, health_lines, line_name
from judges.report.page import write_page
from judges.runs import identity
from judges.runs.manifest import read_manifest, without_people
from judges.runs.names import group_name, way_name
from judges.runs.rows import RECOGNISABLE_SSIM, Score, read_scores
from judges.summaries.gradient_inversion import CellSummary, Summary, line_of, read_summary
from judges.summaries.published import PUBLISHED_DISTANCES

_TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True)
class Line:
    """A line of the record: a cell, what is said of it, and why; of cells with thresholding that is about l2."""

    cell: CellSummary
    name: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Group:
    """All lines on the same victims: attacks, then controls.

    Attributes:
        name: what was attacked.
        lines: of the record.
        best: index of the line with the highest mean SSIM; of the lowest mean l2 where there is thresholding.
        measure: "SSIM" or "l2", of the figure.
        strip: data URI of the figure of every victim's measure.
    """

    name: str
    lines: tuple[Line, ...]
    best: int
    measure: str
    strip: str


@dataclass(frozen=True)
class SpikeSection:
    """Table V of one group of victims with what belongs to it.

    Attributes:
        table: the numbers.
        name: what was attacked.
        observations: sentences on them.
        figure: data URI of Figure 5.
        shape: (T, P, H, W) of our recordings in words; "" where no picture tells.
        paper: whether any line has the paper's figures beside it.
    """

    table: SpikeTable
    name: str
    observations: tuple[str, ...]
    figure: str
    shape: str
    paper: bool


def write_report(run_dir: Path, *, show_faces: bool = False) -> Path:
    """Write report.html, report.md and report.tex into a run folder and return the path of the HTML page.

    Pictures of a data set are shown only where the manifest says that it shows no people
    (`datasets.NAME.people = false`), or with `show_faces`.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and gallery/*.safetensors if any.
        show_faces: show the pictures of real people too.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest = read_manifest(run_dir)
    summary = read_summary(run_dir / "summary.json")
    scores = read_scores(run_dir / "scores.csv")
    galleries = load_galleries(run_dir / "gallery", summary)
    context = {
        "threat_model": wording.THREAT_MODEL,
        "findings": findings(summary),
        "blocks": image_blocks(summary),
        "sections": [_spike_section(table, sizes(galleries)) for table in spike_tables(summary)],
        "distances": distance_rows(summary.distances),
        "paper_distances": {(SPIKES_OF_PAPER, kind): told for kind, told in PUBLISHED_DISTANCES.items()},
        "paper_shape": _TIMES.join(map(str, PAPER_SHAPE)),
        "pictures": panel_blocks(galleries, summary, lambda dataset: show_faces or without_people(manifest, dataset)),
        "answers": answer_panels(run_dir, lambda dataset: show_faces or without_people(manifest, dataset)),
        "groups": list(_groups(summary, scores)),
        "distributions": list(distributions(summary, scores)),
        "rounds": by_round(summary, scores),
        "timesteps": by_timesteps(summary, scores),
        "health": health_lines(summary),
        "summary": summary,
        "ceilings": _ceilings(summary),
        "definitions": wording.DEFINITIONS,
        "success_rate": wording.success_rate,
        "closeness": closeness,
        "paper_guess": paper_guess_l2,
    }
    return write_page(run_dir, "report", manifest, context, FILTERS)


def _groups(summary: Summary, scores: Sequence[Score]) -> Iterator[Group]:
    """Yield the groups of the record in the order of the summary."""
    cells: dict[identity.Group, list[CellSummary]] = defaultdict(list)
    for cell in summary.cells:
        cells[cell.group].append(cell)
    rows: dict[identity.Group, list[Score]] = defaultdict(list)
    for score in scores:
        rows[score.group].append(score)
    told = spike_verdicts(summary)
    for group, own in cells.items():
        measure = "l2" if any(cell.tau is not None for cell in own) else "SSIM"
        values: dict[str, list[float]] = {line_name(cell, own): [] for cell in own}
        for score in rows[group]:
            dots = values.get(line_name(score, own))
            if dots is not None:
                dots.append(getattr(score, measure.lower()))
        strip = strip_figure(
            {name: dots for name, dots in values.items() if dots},
            threshold=RECOGNISABLE_SSIM if measure == "SSIM" else None,
            measure=measure,
        )
        lines = [
            Line(cell, name, *told.get(line_of(cell), (cell.verdict, cell.reason)))
            for cell, name in zip(own, values, strict=True)
        ]
        yield Group(group_name(own[0]), tuple(lines), _best(own, measure), measure, strip)


def _best(cells: Sequence[CellSummary], measure: str) -> int:
    """Return the index of the cell with the lowest mean l2, or the highest mean SSIM."""
    if measure == "l2":
        means = [cell.l2.mean for cell in cells]
        return min(range(len(cells)), key=lambda at: math.inf if (mean := means[at]) is None else mean)
    return max(range(len(cells)), key=lambda at: cells[at].ssim.mean or 0.0)


def _spike_section(table: SpikeTable, shapes: Mapping[str, tuple[int, ...]]) -> SpikeSection:
    """Return what stands around a Table V."""
    return SpikeSection(
        table,
        group_name(table.group),
        tuple(observations(table)),
        _sweeps(table),
        _TIMES.join(map(str, shapes.get(table.group.dataset, ()))),
        any(row.published for row in table.rows),
    )


def _sweeps(table: SpikeTable) -> str:
    """Return Figure 5 of a table."""
    asr: dict[tuple[str, str], list[Point]] = defaultdict(list)
    l2: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for row in table.rows:
        for way, cell in row.cells.items():
            key = row.attack, way_name(way)
            if cell.asr is not None:
                asr[key].append(Point(row.tau, cell.asr, cell.intervals["asr"]))
            if cell.l2.mean is not None:
                l2[key].append(Point(row.tau, cell.l2.mean, cell.intervals["l2"]))
    guess = {row.tau: row.guess.l2.mean for row in table.rows if row.guess}
    return sweep_figure(
        [Sweep(*key, points) for key, points in asr.items()],
        [Sweep(*key, points) for key, points in l2.items()],
        chance=table.chance,
        guess=[Point(tau, mean, None) for tau, mean in guess.items() if mean is not None],
        norm=table.norm,
    )


def _ceilings(summary: Summary) -> dict[str, float | None]:
    """Return the judge's accuracy on the true inputs of all victims of a data set, where it was measured."""
    ceilings: dict[str, float | None] = {}
    for name in summary.judges:
        told = [(cell.ceiling, cell.n) for cell in summary.cells if cell.dataset == name and cell.ceiling is not None]
        ceilings[name] = sum(share * n for share, n in told) / sum(n for _, n in told) if told else None
    return ceilings
