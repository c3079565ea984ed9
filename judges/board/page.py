"""A board as board.html, one self-contained page without scripts, and board.md."""

from __future__ import annotations

from pathlib import Path

from judges.board.ranking import Board, Place, Standing
from judges.board.submission import Mean, Rate
from judges.report.formats import DASH, Form, counted, interval, joined, number, percent, percent_interval, tenths
from judges.report.statements.sheet import write_sheet
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.names import settings_name

_LEAD = (
    "Attacks on the same victims, as different people measured them. Recovered: recognisable (SSIM above 0.5) and "
    "above the best control of the same victim. Ordered by that share, then by mean SSIM, then by the fewest "
    "evaluations. Where intervals overlap, the order may be chance."
)
_TRUST = (
    "Checked of each file: its schema, that its victims are those of the fixed set, that counts add up, that "
    "intervals contain their means, that verdict and letter are due. Not checked: that its figures are true. Its "
    "hashes say which run they are of, and that run shows it: ask for its folder, or make it again."
)


def write_board(folder: Path, board: Board) -> Path:
    """Write board.html and board.md into a folder and return the path of the page."""
    sections = [_section(standing) for standing in board.standings]
    context = {
        "title": "Attacks on fixed victims",
        "lead": _LEAD,
        "trust": _TRUST,
        "counts": joined(
            f"{counted(board.files, 'submission')} on the board",
            f"{len(board.refused)} refused" * bool(board.refused),
        ),
        "sections": [*sections, *([_refused(board)] if board.refused else [])],
    }
    return write_sheet(folder, "board", context, style="report.css")


def _section(standing: Standing) -> Section:
    """Return the section of one letter on one victim set."""
    columns: list[Column[Place]] = [
        Column("Rank", lambda place: str(place.rank)),
        Column("Attack", _attack, left=True, under="settings"),
        Column("From", _origin, left=True, under="made with"),
        Column("Recovered, %", lambda place: _rate(place.entry.found), unit="[95 %]"),
        Column("SSIM", lambda place: _mean(place.entry.ssim, number), unit="mean [95 %]"),
        Column("PSNR, dB", lambda place: _mean(place.entry.psnr_db, tenths), unit="mean [95 %]"),
        Column("Labels", lambda place: percent(place.entry.label_accuracy)),
        Column("Evaluations", lambda place: f"{place.entry.evaluations:.0f}", unit="a victim"),
        Column("Seconds", lambda place: f"{place.entry.seconds:.2g}", unit="a victim"),
        Column("Verdict", lambda place: place.entry.verdict, left=True),
    ]
    victims, letter = standing.victims, standing.adversary
    title = f"{victims.set}, adversary {letter}"
    note = f"{victims.examples} examples in {victims.updates} updates; SHA-256 of these victims {victims.digest}."
    table = Table(title, columns, [Group(standing.places)], css="plain numbers")
    return Section(f"{victims.set}-{letter}", title, [table], note=note)


def _attack(place: Place) -> Cell:
    return Cell(place.entry.attack, under=(settings_name(place.settings), place.entry.auxiliary))


def _origin(place: Place) -> Cell:
    versions, by = place.submission.versions, place.submission.by
    made = f"spikeleak {versions.spikeleak}, torch {versions.torch}, {place.submission.device}"
    return Cell(joined(by, place.file), under=(made, f"scores {place.submission.hashes.scores[:16]}"))


def _rate(rate: Rate) -> Cell:
    return Cell(f"{100 * rate.share:.0f}", percent_interval((rate.low, rate.high)))


def _mean(mean: Mean | None, form: Form) -> Cell:
    if mean is None:
        return Cell(DASH)
    bounds = None if mean.low is None or mean.high is None else (mean.low, mean.high)
    return Cell(form(mean.mean), interval(bounds, form))


def _refused(board: Board) -> Section:
    """Return the section on the files that are not on the board."""
    columns: list[Column[tuple[str, str]]] = [
        Column("File", lambda item: item[0]),
        Column("Reason", lambda item: item[1], left=True, long=True),
    ]
    table = Table("Refused", columns, [Group(list(board.refused.items()))], css="plain reasons")
    return Section("refused", "Refused", [table])
