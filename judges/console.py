"""The table of results as a terminal shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from judges.findings import spike_verdicts
from judges.summary import CellSummary, Summary
from judges.wording import name_of_group, number, percent, success_rate

_IMAGES = ("attack", "n", "SSIM", "PSNR dB", "solved", "recognisable", "diverged", "label", "ASR", "verdict")
_EVENTS = ("attack", "n", "l2", "diverged", "label", "ASR", "by l2")
_LEFT = ("attack", "verdict", "by l2")


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
        return told.get((*cell.group, cell.attack, cell.cell), ("", ""))[0]

    tables = [_table(_IMAGES, images, lambda cell: _image_row(cell, summary))] if images or not spikes else []
    if spikes:
        tables.append(_table(_EVENTS, spikes, lambda cell: _event_row(cell, summary, closeness(cell))))
    if len(tables) == 1:
        return tables[0]
    both = Table.grid(padding=(0, 0, 1, 0))
    for table in tables:
        both.add_row(table)
    return both


def _table(
    columns: Sequence[str], cells: Sequence[CellSummary], row: Callable[[CellSummary], tuple[str, ...]]
) -> Table:
    """Return the table of some cells."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=name == "attack")
    group: tuple[str, ...] = ()
    for cell in cells:
        if cell.group != group:
            group = cell.group
            table.add_section()
            table.add_row(name_of_group(group), style="bold")
        table.add_row(*row(cell), style="dim" if cell.control else "")
    return table


def _image_row(cell: CellSummary, summary: Summary) -> tuple[str, ...]:
    asr, beside = success_rate(cell, summary.judges)
    return (
        f"  {cell.title}",
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
        f"  {cell.title}",
        str(cell.n),
        number(cell.l2.mean),
        str(cell.diverged),
        percent(cell.label_accuracy),
        f"{asr} {beside}".strip(),
        closeness,
    )
