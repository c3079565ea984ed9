"""The numbers of a run over rounds: one line for each federation and round, with every threat beside the accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from judges.report.console import Printed, terminal_table
from judges.report.formats import DASH, grouped, interval, number, out_of_100, percent_interval
from judges.report.rounds.panels import band_of
from judges.report.rounds.threats import THREATS, Shown
from judges.report.table import Cell, Column, Group, Table
from judges.report.words import Verdict
from judges.runs.names import attack_name, group_name, line_name, target_name
from judges.runs.rows.rounds import ACCURACY, RECOGNISED, SOLVED
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.membership import read_memberships
from judges.summaries.model_inversion import read_inversions
from judges.summaries.rounds import Curve, RoundPoint, Rounds, read_rounds


class RoundRow(NamedTuple):
    """A federation after so many rounds of training: {(threat, line, measure): point}, and {threat: its controls}."""

    round: int
    points: dict[tuple[str, str, str], RoundPoint]
    bands: dict[str, tuple[float, float]]
    spiking: bool


def rounds_table(summary: Rounds) -> Table[RoundRow]:
    """Return the numbers of every round, federation by federation."""
    groups = [
        Group(list(_rows(own)), group_name(victims))
        for victims, own in grouped(summary.curves, lambda one: one.group).items()
    ]
    return Table(
        "Numbers of every round",
        list(_columns(summary)),
        groups,
        grouped_by="Federation",
        css="results layout",
    )


def results_of_rounds(run_dir: Path) -> Printed | None:
    """Return the results of a run over rounds for a terminal; None if there are none."""
    summary = read_rounds(run_dir / "summary.json")
    return terminal_table(rounds_table(summary)) if summary.curves else None


def _rows(curves: Sequence[Curve]) -> Iterator[RoundRow]:
    """Yield the rounds of a federation."""
    bands = {
        threat: {
            at: (low, high) for at, low, high in band_of(shown, [one for one in curves if _is_of(one, threat, shown)])
        }
        for threat, shown in THREATS.items()
    }
    for number_of_rounds in sorted({point.round for one in curves for point in one.points}):
        points = {
            (one.threat, one.line, one.measure): point
            for one in curves
            for point in one.points
            if point.round == number_of_rounds and not one.is_control
        }
        own = {threat: known[number_of_rounds] for threat, known in bands.items() if number_of_rounds in known}
        yield RoundRow(number_of_rounds, points, own, curves[0].spiking)


def _is_of(curve: Curve, threat: str, shown: Shown) -> bool:
    return curve.threat == threat and curve.measure == shown.measure


def _columns(summary: Rounds) -> Iterator[Column[RoundRow]]:
    """Yield the columns: rounds, accuracy, and the attacks of each threat with the greatest of its controls."""
    yield Column("Rounds", lambda row: str(row.round), terminal="rounds")
    yield Column(
        "Accuracy, %",
        _of(("", "global model", ACCURACY), share=True),
        unit="held out",
        terminal="accuracy, %",
        brief=True,
    )
    attacks = [one for one in summary.curves if one.threat and not one.is_control]
    keys = list(dict.fromkeys((one.threat, one.line, one.measure) for one in attacks))
    for threat, shown in THREATS.items():
        own = [key for key in keys if key[0] == threat]
        for key in own:
            _, line, measure = key
            share = measure in (SOLVED, RECOGNISED)
            heading = f"{line}, {measure}{', %' if share else ''}"
            yield Column(heading, _of(key, share=share), unit="[95 %]", span=shown.name, terminal=heading)
        if own:
            yield Column(
                "Best control", _control(threat, shown), unit=shown.measure, span=shown.name, terminal="control"
            )


def _of(key: tuple[str, str, str], *, share: bool) -> Callable[[RoundRow], Cell]:
    """Return what shows a number of a row."""

    def cell(row: RoundRow) -> Cell:
        point = row.points.get(key)
        if point is None:
            return Cell(DASH)
        bounds = None if point.low is None or point.high is None else (point.low, point.high)
        if share:
            return Cell(
                f"{100 * point.value:.1f}" if key[2] == ACCURACY else out_of_100(point.value), percent_interval(bounds)
            )
        return Cell(number(point.value), interval(bounds))

    return cell


def _control(threat: str, shown: Shown) -> Callable[[RoundRow], Cell]:
    """Return what shows the greatest control of a threat."""

    def cell(row: RoundRow) -> Cell:
        if threat not in row.bands:
            return Cell(DASH)
        greatest = row.bands[threat][1]
        return Cell(out_of_100(greatest) if shown.share else number(greatest))

    return cell


def verdicts_of_rounds(run_dir: Path) -> list[Verdict]:
    """Return the verdicts on the attacks of all threats of a run over rounds, as the threats' own runs have them."""
    found = []
    for threat in THREATS:
        path = run_dir / threat / "summary.json"
        if path.is_file():
            found += list(_VERDICTS[threat](path))
    return found


def _on_updates(path: Path) -> Iterator[Verdict]:
    for cell in read_summary(path).cells:
        if not cell.is_control:
            yield Verdict(line_name(cell), group_name(cell), cell.verdict, cell.reason)


def _on_models(path: Path) -> Iterator[Verdict]:
    for cell in read_inversions(path).cells:
        if not cell.control:
            yield Verdict(attack_name(cell), target_name(cell.target), cell.verdict, cell.reason)


def _on_members(path: Path) -> Iterator[Verdict]:
    for cell in read_memberships(path).cells:
        if not cell.control:
            yield Verdict(attack_name(cell), target_name(cell.target), cell.verdict, cell.reason)


_VERDICTS: Mapping[str, Callable[[Path], Iterator[Verdict]]] = {
    "gradient_inversion": _on_updates,
    "model_inversion": _on_models,
    "membership": _on_members,
}
