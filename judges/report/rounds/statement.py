"""A run over rounds on one page for a data-protection officer: every threat to the same federations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from judges.report.answer import listed
from judges.report.formats import (
    DASH,
    between,
    counted,
    grouped,
    interval,
    joined,
    number,
    out_of_100,
    percent_interval,
)
from judges.report.rounds.answer import Course, courses, trained
from judges.report.rounds.panels import band_of, line_names
from judges.report.rounds.threats import THREATS, Shown
from judges.report.statements import (
    NO_EVIDENCE,
    Account,
    Fact,
    Part,
    Statement,
    cut,
    doubts,
    few,
    origin,
    title_of,
    write_statement,
)
from judges.report.table import Cell, Column, Group, Table
from judges.runs.manifest import read_manifest, threats_of
from judges.runs.rows.rounds import ACCURACY
from judges.summaries.rounds import RoundPoint, Rounds, read_rounds

_MOST_ROWS = 14
_LONGEST = 200


class Line(NamedTuple):
    """A line of the table: an attack over the rounds, its adversary's letter, and the greatest of its controls."""

    letter: str
    course: Course
    control: float | None

    @property
    def most(self) -> RoundPoint:
        """Return the point at which the attack found most."""
        return max(self.course.curve.points, key=lambda one: one.value)


def write_rounds_statement(run_dir: Path) -> Path:
    """Write statement.html and statement.md into the folder of a run over rounds; return the path of the page.

    Raises:
        DataError: manifest.json or summary.json of the run, or a file of a threat's own run, is missing or corrupt.
    """
    from judges.kinds import KINDS  # here, since it loads plans, of which pages that share parts of this have no need

    manifest, summary = read_manifest(run_dir), read_rounds(run_dir / "summary.json")
    accounts: dict[str, Account] = {
        threat: KINDS[threat].part("account")(run_dir / threat) for threat in threats_of(run_dir)
    }
    found = courses(summary)
    parts = [
        _system(summary, accounts),
        Part("The adversaries", [Fact(_title(threat), _adversary(one)) for threat, one in accounts.items()]),
        attacks_part(summary, found, accounts),
        Part("What was not tried, and what cannot be told", list(_limits(accounts, manifest)), note=NO_EVIDENCE),
        origin(run_dir, manifest),
    ]
    told = (
        "Experiment: simulated federations, attacked in every round that was kept or captured. They are no systems in "
        f"operation. Threats: {listed([THREATS[threat].name for threat in accounts])}."
    )
    return write_statement(run_dir, Statement(title_of(run_dir, manifest), told, headline(found), parts))


def headline(found: Sequence[Course]) -> str:
    """Return of each threat in how many attacked rounds it did better than its controls, without a claim beyond it."""
    if not found:
        return "No attack was scored in this run."
    told = []
    for shown, own in _by_threat(found):
        above = {(one.curve.group, point.round) for one in own for point in one.above}
        rounds = {(one.curve.group, point.round) for one in own for point in one.curve.points}
        told.append(f"{shown.name} of {shown.whom} in {len(above)} of {len(rounds)}")
    return f"Better than all controls, of the attacked rounds of all networks: {listed(told)}."


def _by_threat(found: Sequence[Course]) -> list[tuple[Shown, list[Course]]]:
    return [(own[0].shown, own) for own in grouped(found, lambda one: one.shown.name).values()]


def _title(threat: str) -> str:
    name = THREATS[threat].name
    return name[0].upper() + name[1:]


def _system(summary: Rounds, accounts: Mapping[str, Account]) -> Part:
    """Return the part on the federations: their accuracy, and all that the runs of the threats tell of them."""
    facts = {"Federations": few([trained(one) for one in summary.curves if one.measure == ACCURACY])}
    for one in accounts.values():
        for fact in one.system:
            facts.setdefault(fact.term, fact.text)
    return Part("The systems that were attacked", [Fact(term, text) for term, text in facts.items() if text])


def attacks_part(
    summary: Rounds, found: Sequence[Course], accounts: Mapping[str, Account], *, title: str = "Attacks and results"
) -> Part:
    """Return the part on the attacks: where each found most, and in how many rounds it was above its controls.

    Args:
        summary: the numbers of all threats.
        found: their attacks.
        accounts: {threat: what its own run tells}.
        title: of the part.
    """
    if not found:
        return Part(title, [Fact("Attacks", "none was scored")])
    names = line_names(summary.curves)
    lines = [line for _, own in _by_threat(found) for line in _lines(summary, own, accounts)]
    columns: list[Column[Line]] = [
        Column("Threat", lambda row: row.course.shown.name, left=True),
        Column("Letter", lambda row: row.letter or DASH, left=True),
        Column("Attack", lambda row: row.course.curve.line, left=True),
        Column("On", lambda row: names[row.course.curve.group], left=True),
        Column("Rounds", _rounds),
        Column("Most [95 %]", _most),
        Column("after", lambda row: str(row.most.round)),
        Column("Best control", lambda row: _value(row.course.shown, row.control)),
        Column("Above in", lambda row: f"{len(row.course.above)} of {len(row.course.curve.points)}"),
    ]
    shown = _shown(lines)
    more = f" Of {len(lines)} attacks, the {len(shown)} that were above their controls most often." * (
        len(shown) < len(lines)
    )
    measures = [f"{one.measure}{', %' * one.share} ({one.name})" for one, _ in _by_threat(found)]
    note = (
        f"Most: the largest {listed(measures)}. After: rounds behind the attacked weights there. Best control: the "
        "greatest there, of membership inference the upper end of its interval. Above in: attacked rounds in which the "
        "whole interval lies above all controls. Letters: Carletti et al. (2025), for gradient inversion."
        f"{more}"
    )
    return Part(title, (), Table("Results", columns, [Group(shown)]), note)


def _lines(summary: Rounds, own: Sequence[Course], accounts: Mapping[str, Account]) -> Iterator[Line]:
    for course in own:
        curve, shown = course.curve, course.shown
        beside = [
            one for one in summary.curves
            if (one.threat, one.measure, one.group, one.source)
            == (curve.threat, shown.measure, curve.group, curve.source)
        ]  # fmt: skip
        greatest = {at: high for at, _, high in band_of(shown, beside)}
        letters = accounts[curve.threat].adversaries if curve.threat in accounts else {}
        line = Line(letters.get(curve.attack, ""), course, None)
        yield line._replace(control=greatest.get(line.most.round))


def _shown(lines: Sequence[Line]) -> list[Line]:
    """Return the lines for which there is room, in their order: those that were above their controls most often."""
    ranked = sorted(lines, key=lambda one: -one.course.share_above)
    kept = [id(one) for one in ranked[:_MOST_ROWS]]
    return [one for one in lines if id(one) in kept]


def _rounds(row: Line) -> str:
    points = row.course.curve.points
    return between(str(points[0].round), str(points[-1].round))


def _most(row: Line) -> Cell:
    point, shown = row.most, row.course.shown
    bounds = None if point.low is None or point.high is None else (point.low, point.high)
    beside = percent_interval(bounds) if shown.share else interval(bounds)
    return Cell(_value(shown, point.value), beside)


def _value(shown: Shown, value: float | None) -> str:
    if value is None:
        return DASH
    return out_of_100(value) if shown.share else number(value)


def _adversary(one: Account) -> str:
    """Return what an adversary knows, and how often each verdict was given on its attacks."""
    counts = Counter(one.verdicts)
    told = joined(*(f"{verdict} ({counted(count, 'cell')})" for verdict, count in counts.most_common())) or "none"
    return f"{one.knows}. Verdicts: {told}"


def _limits(accounts: Mapping[str, Account], manifest: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what no attack of each threat tried or can tell, and the threats that were not tried at all."""
    untried = [shown.name for threat, shown in THREATS.items() if threat not in accounts]
    if untried:
        yield Fact("Not tried", listed(untried))
    for threat, one in accounts.items():
        told = [cut(f"{fact.term.lower()}: {fact.text.removeprefix('not tried: ')}", _LONGEST) for fact in one.limits]
        yield Fact(_title(threat), few([text.replace("adversaries: ", "not tried: ", 1) for text in told]))
    yield from doubts(manifest)
