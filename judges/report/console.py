"""The table of results as a terminal shows it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from judges.report.gradient_inversion.findings import spike_verdicts
from judges.report.gradient_inversion.wording import number, percent, success_rate
from judges.runs.names import CONTROL, group_name, line_name
from judges.summaries.gradient_inversion import CellSummary, Summary, line_of, read_summary

_IMAGES = ("attack", "n", "median SSIM", "PSNR dB", "solved", "recognisable", "diverged", "label", "ASR", "verdict")
_EVENTS = ("attack", "n", "l2", "diverged", "label", "ASR", "by l2")
_LEFT = ("attack", "verdict", "by l2")


class Line(NamedTuple):
    """A line of a table: what it belongs to, its cells, and whether it is of a control, which is printed dim."""

    group: str
    cells: tuple[str, ...]
    control: bool


def results_of_attacks(run_dir: Path) -> Table | None:
    """Return the table of results of a run of gradient inversion, or of an audit; None where nothing was scored."""
    summary = read_summary(run_dir / "summary.json")
    return results_table(summary) if summary.cells else None


def results_table(summary: Summary) -> Table:
    """Return one line for each attack and control, grouped by what was attacked.

    Of images it shows the medians of SSIM and PSNR. Where thresholding was tried it shows the mean l2 and how that
    compares with answers that need no gradient: the SSIM of a sparse recording is high for an empty answer.
    """
    events = {cell.group for cell in summary.cells if cell.tau is not None}
    images = [cell for cell in summary.cells if cell.group not in events]
    spikes = [cell for cell in summary.cells if cell.group in events]
    told = spike_verdicts(summary)

    def closeness(cell: CellSummary) -> str:
        return told.get(line_of(cell), ("", ""))[0]

    of_images = [_line(cell, _image_row(cell, summary)) for cell in images]
    tables = [grouped_table(_IMAGES, _LEFT, of_images)] if images or not spikes else []
    if spikes:
        of_events = [_line(cell, _event_row(cell, summary, closeness(cell))) for cell in spikes]
        tables.append(grouped_table(_EVENTS, _LEFT, of_events))
    if len(tables) == 1:
        return tables[0]
    both = Table.grid(padding=(0, 0, 1, 0))
    for table in tables:
        both.add_row(table)
    return both


def grouped_table(columns: Sequence[str], left: Collection[str], lines: Iterable[Line]) -> Table:
    """Return a table in which lines of one group stand under its name.

    Args:
        columns: their names.
        left: those of text, to the left; numbers stand to the right.
        lines: those of a group one after the other.
    """
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name == columns[0])
    for group, own in itertools.groupby(lines, key=lambda line: line.group):
        table.add_section()
        table.add_row(Text(group), style="bold")
        for line in own:
            table.add_row(*map(Text, line.cells), style="dim" if line.control else "")
    return table


def _line(cell: CellSummary, cells: tuple[str, ...]) -> Line:
    """Return the line of an attack or control."""
    return Line(group_name(cell), cells, cell.is_control)


def _image_row(cell: CellSummary, summary: Summary) -> tuple[str, ...]:
    asr, beside = success_rate(cell, summary.judges)
    return (
        f"  {CONTROL if cell.control else ''}{line_name(cell)}",
        str(cell.n),
        number(cell.ssim.median),
        number(cell.psnr_db.median, 1),
        percent(cell.solved.share),
        percent(cell.recognisable.share),
        str(cell.diverged),
        percent(cell.label_accuracy),
        f"{asr} {beside}".strip(),
        "" if cell.control else cell.verdict,
    )


def _event_row(cell: CellSummary, summary: Summary, closeness: str) -> tuple[str, ...]:
    asr, beside = success_rate(cell, summary.judges)
    return (
        f"  {CONTROL if cell.control else ''}{line_name(cell)}",
        str(cell.n),
        number(cell.l2.mean),
        str(cell.diverged),
        percent(cell.label_accuracy),
        f"{asr} {beside}".strip(),
        closeness,
    )
