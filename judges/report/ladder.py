"""The ladder: what an attack finds from its best case to the clients' own setting, a change a rung."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from judges.report.formats import DASH, interval, number, tenths
from judges.report.table import Cell, Column, Group, Section, Table, rate_cell
from judges.report.words import verdict_cell
from judges.runs.identity import RUNG, Attacked
from judges.runs.manifest import LADDER
from judges.runs.names import attack_name, group_name
from judges.summaries.gradient_inversion import CellSummary, Summary, read_summary
from judges.summaries.verdicts import RECOVERED


class Climb(NamedTuple):
    """An attack on the same clients on all rungs, in their order."""

    clients: str
    attack: str
    cells: Sequence[CellSummary]

    @property
    def protects(self) -> str:
        """Return the rung above the first one on which the attack no longer recovers what it did below; "" if none."""
        for below, above in zip(self.cells, self.cells[1:], strict=False):
            if below.verdict == RECOVERED and above.verdict != RECOVERED:
                return rung_of(above)
        return ""


def ladder_of_run(run_dir: Path) -> Summary | None:
    """Return the summary of the ladder in a run's folder; None if none was climbed, a DataError if it is corrupt."""
    path = run_dir / LADDER / "summary.json"
    return read_summary(path) if path.is_file() else None


def climbs(summary: Summary) -> list[Climb]:
    """Return the ladders of a run: of each group of clients and attack."""
    found: dict[tuple[str, str], list[CellSummary]] = defaultdict(list)
    for cell in summary.cells:
        if RUNG in cell.varied and not cell.is_control and cell.tau is None:
            rest = {key: value for key, value in cell.varied.items() if key != RUNG}
            clients = replace(cell, varied=rest, defence=Attacked.defence)
            found[group_name(clients), attack_name(cell)].append(cell)
    return [Climb(*names, cells) for names, cells in found.items()]


def rung_of(cell: CellSummary) -> str:
    """Return the rung of a cell, such as "2: batch of 8"."""
    return str(cell.varied[RUNG])


def ladder_section(summary: Summary, note: str) -> Section:
    """Return the section on the ladder; `note` says how to read it."""
    columns: list[Column[CellSummary]] = [
        Column("Rung", rung_of),
        Column("n", lambda cell: str(cell.n)),
        Column("Recognisable, %", _recognisable, unit="[95 %]"),
        Column("SSIM", _similarity, unit="mean [95 %]"),
        Column("PSNR, dB", lambda cell: tenths(cell.psnr_db.mean) if cell.psnr_db else DASH, unit="mean"),
        Column("Labels, %", lambda cell: DASH if cell.label_accuracy is None else f"{100 * cell.label_accuracy:.0f}"),
        Column("Verdict", lambda cell: verdict_cell(cell.verdict), left=True),
    ]
    groups = [Group(climb.cells, f"{climb.attack} on {climb.clients}") for climb in climbs(summary)]
    table = Table("Ladder", columns, groups, grouped_by="Attack and clients", note=note)
    return Section("ladder", "From the attacker's best case to the clients' setting", [table])


def _recognisable(cell: CellSummary) -> Cell:
    return rate_cell(cell.recognisable or cell.solved)


def _similarity(cell: CellSummary) -> Cell:
    if cell.ssim is None:
        return Cell(DASH)
    return Cell(number(cell.ssim.mean), interval(cell.intervals["ssim"], number))
