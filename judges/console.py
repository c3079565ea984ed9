"""The table of results as a terminal shows it."""

from __future__ import annotations

from rich.table import Table

from judges.summary import CellSummary, Summary
from judges.wording import name_of_group, number, percent, success_rate

_COLUMNS = ("attack", "n", "SSIM", "PSNR dB", "solved", "recognisable", "diverged", "label", "ASR", "verdict")


def results_table(summary: Summary) -> Table:
    """Return one line for each attack and control, medians of SSIM and PSNR, grouped by what was attacked."""
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("attack", "verdict") else "right", no_wrap=name == "attack")
    group: tuple[str, ...] = ()
    for cell in summary.cells:
        if cell.group != group:
            group = cell.group
            table.add_section()
            table.add_row(name_of_group(group), style="bold")
        table.add_row(*_row(cell, summary), style="dim" if cell.control else "")
    return table


def _row(cell: CellSummary, summary: Summary) -> tuple[str, ...]:
    asr, beside = success_rate(cell, summary.judges)
    return (
        f"  {cell.attack}",
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
