"""The complete record of a run: every attack and control, why each verdict, and every victim."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from judges.intervals import Distribution, Rate
from judges.report.console import Printed, terminal_table
from judges.report.formats import (
    DASH,
    Form,
    error,
    grouped,
    interval,
    joined,
    number,
    out_of_100,
    percent,
    rate_interval,
    tenths,
)
from judges.report.gradient_inversion import NOTES
from judges.report.gradient_inversion.events import nearness, spike_tables
from judges.report.gradient_inversion.tables import by_group, judge_facts
from judges.report.gradient_inversion.tables_events import distance_section
from judges.report.gradient_inversion.tables_leaks import outcomes
from judges.report.table import BEST, Cell, Column, Group, Section, Small, Table, median_cell
from judges.report.words import Verdict, has_namesake, reasons_table, tone
from judges.runs.measures import SanityCheck
from judges.runs.names import group_name, line_name
from judges.summaries.gradient_inversion import CellSummary, Summary, read_summary


class RecordRow(NamedTuple):
    """A line of the record: an attack or a control."""

    cell: CellSummary
    twin: str  # the cell's own name, where two cells of a group share the attack
    verdict: str  # of cells with thresholding it is about l2
    reason: str
    best: str  # "SSIM" or "l2" where its mean is the best of its group by that
    chance: float | None  # of the judge; None without one


def record_groups(summary: Summary) -> list[Group[RecordRow]]:
    """Return all lines by what was attacked, attacks before controls."""
    of_spikes = _spike_verdicts(summary)
    groups = []
    for group, own in by_group(summary.cells).items():
        best, measure, (_, chance) = _best(own), _measure(own), judge_facts(summary, group.dataset)
        rows = []
        for cell in own:
            twin, verdict = cell.cell if has_namesake(cell, own) else "", (cell.verdict, cell.reason)
            verdict = of_spikes.get(id(cell), verdict)
            rows.append(RecordRow(cell, twin, *verdict, measure if cell is best else "", chance))
        groups.append(Group(rows, group_name(group)))
    return groups


def record_table(groups: Sequence[Group[RecordRow]], *, still: bool = True, unfolded: bool = False) -> Table[RecordRow]:
    """Return every attack and control.

    A terminal shows only some measures: of still images SSIM and PSNR, of events l2, since their SSIM is high for an
    empty answer.
    """
    return Table(
        "Results table",
        list(_columns(groups, still=still)),
        groups,
        grouped_by="Victims",
        note=NOTES["record"],
        css="results",
        row_css=lambda row: "control" if row.cell.control else "attack",
        fold="Every attack and every control",
        unfolded=unfolded,
        tex=False,
    )


def article_section(summary: Summary) -> Section:
    """Return the record as articles print it: attacks with their verdicts above the controls on the same victims."""
    columns: list[Column[RecordRow]] = [
        Column("Attack or control", lambda row: Cell(line_name(row.cell), css="")),
        Column("n", lambda row: str(row.cell.n)),
        Column("SSIM", _ssim, unit="[95 %]"),
        Column("PSNR, dB", lambda row: tenths(row.cell.psnr_db.mean) if row.cell.psnr_db else DASH),
        Column("l2", lambda row: number(row.cell.l2.mean) if _measure([row.cell]) == "l2" else ""),
        Column("Recognisable, %", lambda row: _out_of(row, row.cell.recognisable), unit="[95 %]"),
        Column("Solved, %", lambda row: "" if row.cell.recognisable else _out_of(row, row.cell.solved), unit="[95 %]"),
        Column("Tokens, %", lambda row: out_of_100(row.cell.token_accuracy)),
        Column("Labels, %", lambda row: out_of_100(row.cell.label_accuracy)),
        Column("ASR, %", lambda row: out_of_100(row.cell.asr)),
        Column("Div.", lambda row: "" if row.cell.control else str(row.cell.diverged)),
        Column("Verdict", lambda row: "" if row.cell.control else row.verdict, left=True),
    ]
    table = Table("Results", columns, record_groups(summary), grouped_by="Victims", note=NOTES["record"])
    return Section("results", "Attacks and controls", [table])


def _out_of(row: RecordRow, rate: Rate | None) -> Cell:
    if rate is None or not row.cell.is_attempted:
        return Cell(DASH)
    return Cell(f"{100 * rate.share:.0f}", rate_interval(rate))


def results_tables(summary: Summary) -> list[Table[RecordRow]]:
    """Return the record as a terminal shows it: images and events apart."""
    groups = grouped(record_groups(summary), lambda group: _is_swept([row.cell for row in group.rows]))
    return [record_table(own, still=not swept) for swept, own in sorted(groups.items())]


def record_section(summary: Summary, *, unfolded: bool) -> Section:
    """Return the section of the record."""
    groups = record_groups(summary)
    reasons = reasons_table(
        (Cell(f"{line_name(row.cell)} on {group.title}", under=(row.twin,)), row.verdict, row.reason)
        for group in groups
        for row in group.rows
        if not row.cell.control
    )
    return Section("record", "Complete record", [record_table(groups, unfolded=unfolded), reasons])


def _columns(groups: Sequence[Group[RecordRow]], *, still: bool) -> Iterator[Column[RecordRow]]:
    """Yield the columns of the record; a terminal shows some of still images that mean nothing for events."""
    ssim, psnr, solved, recognisable = ("median SSIM", "mean PSNR", "solved", "recognisable") if still else [""] * 4
    yield Column("Attack", _name, unit="and verdict", under="verdict", terminal="attack")
    yield Column("n", lambda row: str(row.cell.n), terminal="n")
    yield Column("SSIM", _ssim, unit="mean [95 %]")
    yield Column(
        "SSIM", lambda row: median_cell(row.cell.ssim, number), unit="median (quartiles)", terminal=ssim, brief=True
    )
    yield Column("PSNR, dB", _psnr, unit="mean (median)", terminal=psnr, brief=True)
    yield Column("MSE", lambda row: _both(row.cell.mse, error), unit="mean (median)")
    yield Column("l2", _l2, unit="mean (median)", terminal="" if still else "l2", brief=True)
    yield Column("Solved", _solved, unit="MSE < 0.001", terminal=solved)
    yield Column("Recognisable", _recognisable, unit="SSIM > 0.5 [95 %]", terminal=recognisable, brief=True)
    if any(row.cell.token_accuracy is not None for group in groups for row in group.rows):
        yield Column("Tokens", _tokens, unit="in place (named)", terminal="tokens")
    yield Column("Diverged", lambda row: DASH if row.cell.control else str(row.cell.diverged), terminal="diverged")
    yield Column("Label", _label, terminal="label")
    yield Column("ASR", _success, unit="by the judge", terminal="ASR")


def _name(row: RecordRow) -> Cell:
    verdict = Small(row.verdict, f"verdict {tone(row.cell.verdict)}" if row.cell.tau is None else "verdict")
    return Cell(line_name(row.cell), under=(row.twin, verdict))


def _psnr(row: RecordRow) -> Cell:
    return Cell(DASH) if row.cell.psnr_db is None else _both(row.cell.psnr_db, tenths)


def _tokens(row: RecordRow) -> Cell:
    return Cell(percent(row.cell.token_accuracy), f"({percent(row.cell.tokens_found)})")


def _ssim(row: RecordRow) -> Cell:
    if row.cell.ssim is None:
        return Cell(DASH)
    mean, bounds = row.cell.ssim.mean, row.cell.intervals["ssim"]
    return Cell(number(mean), interval(bounds), css=BEST if row.best == "SSIM" else "")


def _l2(row: RecordRow) -> Cell:
    return _both(row.cell.l2, number, css=BEST if row.best == "l2" else "")


def _solved(row: RecordRow) -> Cell:
    solved = row.cell.solved
    if not row.cell.is_attempted:
        return Cell(DASH)
    return Cell(percent(solved.share), under=(f"{solved.count} of {solved.of}",))


def _recognisable(row: RecordRow) -> Cell:
    rate = row.cell.recognisable
    return Cell(DASH) if rate is None or not row.cell.is_attempted else Cell(percent(rate.share), rate_interval(rate))


def _label(row: RecordRow) -> Cell:
    """Return the share of labels found in any order, above that of those found in the answer paired with them."""
    paired = row.cell.label_accuracy_paired
    return Cell(percent(row.cell.label_accuracy), under=("" if paired is None else f"paired {percent(paired)}",))


def _success(row: RecordRow) -> Cell:
    """Return the judge's verdict: "87 %" and "(ceiling 99, chance 10)"; a dash without a judge."""
    ceiling, chance = row.cell.ceiling, row.chance
    beside = joined(
        "" if ceiling is None else f"ceiling {100 * ceiling:.0f}",
        "" if chance is None else f"chance {100 * chance:.2g}",
    )
    return Cell(percent(row.cell.asr), f"({beside})" if beside and row.cell.asr is not None else "")


def _both(values: Distribution, form: Form, css: str = "") -> Cell:
    return Cell(form(values.mean), f"({form(values.median)})", css=css)


def _measure(cells: Sequence[CellSummary]) -> str:
    """Return what the cells of a group are compared by."""
    return "l2" if _is_swept(cells) or any(cell.ssim is None for cell in cells) else "SSIM"


def _is_swept(cells: Sequence[CellSummary]) -> bool:
    """Return whether thresholding was tried on a group, which consists of events then."""
    return any(cell.tau is not None for cell in cells)


def _best(cells: Sequence[CellSummary]) -> CellSummary:
    """Return the cell with the lowest mean l2, or the highest mean SSIM."""
    if _measure(cells) == "l2":
        return min(cells, key=lambda cell: math.inf if cell.l2.mean is None else cell.l2.mean)
    return max(cells, key=lambda cell: cell.ssim.mean or 0.0 if cell.ssim else 0.0)


def _spike_verdicts(summary: Summary) -> dict[int, tuple[str, str]]:
    """Return {id of a cell: (closeness, reason)} of all cells with thresholding."""
    verdicts: dict[int, tuple[str, str]] = {}
    for table in spike_tables(summary):
        for row in table.rows:
            beside = {"thresholded guess": row.guess.l2.mean if row.guess else None, "empty recording": table.norm}
            known = ", ".join(f"{name} {number(value)}" for name, value in beside.items() if value is not None)
            for cell in row.cells.values():
                reason = joined(f"mean l2 {number(cell.l2.mean)}", known and f"({known})", by=" ")
                verdicts[id(cell)] = nearness(cell, row.guess, table.norm).words, reason
    return verdicts


def results_of_attacks(run_dir: Path) -> Printed | None:
    """Return the results of a gradient inversion, or of an audit, for a terminal; None where none was scored.

    Those of an experiment without attacks are the distances between its recordings.
    """
    summary = read_summary(run_dir / "summary.json")
    if not summary.cells:
        section = distance_section(summary.distances)
        return terminal_table(*section.tables, notes=section.note) if section.shown else None
    is_small = any(cell.ssim is None and cell.token_accuracy is None for cell in summary.cells)
    checks = "\n".join(["Sanity checks", *map(_line, summary.checks)]) if summary.checks else ""
    notes = joined(NOTES["small"] if is_small else "", checks, by="\n\n")
    return terminal_table(*results_tables(summary), notes=notes)


def verdicts_on_attacks(run_dir: Path) -> list[Verdict]:
    """Return the verdicts on the attacks of a gradient inversion, or of an audit; [] where none was scored."""
    cells = (cell for cell in read_summary(run_dir / "summary.json").cells if not cell.control)
    return [Verdict(line_name(cell), group_name(cell), cell.verdict, cell.reason) for cell in cells]


def _line(check: SanityCheck) -> str:
    """Return the sanity checks of an attack for a terminal, one per line."""
    words = {True: "passed", False: "FAILED", None: "not checked"}
    name = f"{line_name(check)} on {group_name(check)}"
    return "\n".join(f"  {name}: {one.claim}: {words[one.holds]} ({one.numbers})" for one in outcomes(check))
