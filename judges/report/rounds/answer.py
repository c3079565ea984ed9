"""What the report of a run over rounds says first: how much each threat found, from the first round to the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from judges.report.answer import Answer, bounded, listed
from judges.report.formats import counted, grouped, number, percent
from judges.report.rounds.panels import band_of
from judges.report.rounds.threats import THREATS, Shown
from judges.report.victims.contrast import contrast_lines
from judges.runs.names import group_name, network_name
from judges.runs.rows.rounds import ACCURACY
from judges.summaries.contrast import Contrast
from judges.summaries.rounds import Curve, RoundPoint, Rounds


class Course(NamedTuple):
    """One attack on one federation over the rounds.

    Attributes:
        shown: the threat.
        curve: the attack.
        above: the points that lie above all controls, by their whole interval where they have one.
    """

    shown: Shown
    curve: Curve
    above: Sequence[RoundPoint]

    @property
    def share_above(self) -> float:
        """Return the share of the points that lie above all controls, in [0, 1]."""
        return len(self.above) / len(self.curve.points)


def courses(summary: Rounds) -> list[Course]:
    """Return the attacks of all threats, each in the measure of its panel."""
    found = []
    for threat, shown in THREATS.items():
        own = [one for one in summary.curves if one.threat == threat and one.measure == shown.measure]
        for curves in grouped(own, lambda one: (one.group, one.source)).values():
            greatest = {at: high for at, _, high in band_of(shown, curves)}
            for curve in curves:
                if not curve.is_control:
                    above = [one for one in curve.points if _least(one) > greatest.get(one.round, 0.0)]
                    found.append(Course(shown, curve, above))
    return found


def answer(summary: Rounds, contrasts: Sequence[Contrast] = ()) -> Answer:
    """Return the answer of a run.

    Args:
        summary: of the run.
        contrasts: what the network alone changes for the attacks on updates.
    """
    found = courses(summary)
    if not found:
        return Answer("No attack was scored in this run.", "open", [])
    accuracies = [one for one in summary.curves if one.measure == ACCURACY]
    attacks = [f"{name} ({listed(lines)})" for name, lines in _attacks(found).items()]
    lines = [
        ("ANN and SNN", bounded(list(contrast_lines(contrasts, brief=True)), "networks")),
        ("Attacked", bounded([trained(one) for one in accuracies], "federations")),
        ("By", [listed(attacks)]),
        ("Leaked", bounded([sentence(one) for one in sorted(found, key=lambda one: -one.share_above)], "attacks")),
    ]
    return Answer(_headline(found), "yes" if any(one.above for one in found) else "no", lines)


def sentence(course: Course) -> str:
    """Return how an attack fares from the first round to the last, and in how many it is above all controls."""
    shown, curve = course.shown, course.curve
    form = percent if shown.share else number
    first, last, best = curve.points[0], curve.points[-1], max(curve.points, key=lambda one: one.value)
    who = f"{network_name(curve)}, {shown.name} by {curve.line}"
    if len(curve.points) == 1:
        above = "above" if course.above else "not above"
        after = counted(first.round, "round")
        return f"{who}: {shown.measure} {form(first.value)} after {after}, {above} all controls"
    return (
        f"{who}: {shown.measure} {form(first.value)} after "
        f"{counted(first.round, 'round')}, {form(last.value)} after {last.round}, at most {form(best.value)} (after "
        f"{best.round}); above all controls in {len(course.above)} of {counted(len(curve.points), 'round')}"
    )


def _headline(found: Sequence[Course]) -> str:
    """Return, of each threat, in how many rounds of all networks together any attack was above all controls."""
    return f"{listed([text[0].upper() + text[1:] if not place else text for place, text in enumerate(_told(found))])}."


def _told(found: Sequence[Course]) -> Iterator[str]:
    for name, own in grouped(found, lambda one: one.shown.name).items():
        shown = own[0].shown
        above = {(one.curve.group, point.round) for one in own for point in one.above}
        places = {(one.curve.group, point.round) for one in own for point in one.curve.points}
        yield f"by {name} {shown.whom} {shown.successful} in {len(above)} of {len(places)} attacked rounds"


def _attacks(found: Sequence[Course]) -> dict[str, list[str]]:
    by_threat = grouped(found, lambda one: one.shown.name)
    return {name: list(dict.fromkeys(one.curve.line for one in own)) for name, own in by_threat.items()}


def trained(curve: Curve) -> str:
    """Return the accuracy of a federation's global model, at first and after the last round."""
    first, last = curve.points[0], curve.points[-1]
    reached = f"{100 * last.value:.1f} % after {counted(last.round, 'round')}"
    return f"{group_name(curve)}: {percent(first.value)} at first, {reached}"


def _least(point: RoundPoint) -> float:
    return point.value if point.low is None else point.low
