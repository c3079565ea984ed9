"""The panels of several threats as drawings of a page."""

from __future__ import annotations

from judges.report.answer import listed
from judges.report.curves import lines_figure
from judges.report.rounds.panels import Picture, pictures
from judges.report.rounds.threats import THREATS
from judges.report.table import Drawing
from judges.summaries.rounds import Rounds

_ACROSS = 10.9
"""Inches that a page of usual width has room for."""


def panels_of(summary: Rounds) -> list[Drawing]:
    """Return the panels of each family of networks, as a drawing each."""
    return [
        Drawing(
            "sweep.html.j2",
            [
                (
                    f"Threats against the rounds of training, {one.name}",
                    f"held-out accuracy, {listed(_names(one))} against the rounds of training, {one.name}",
                    lines_figure(list(one.panels.values()), width=min(3.4, _ACROSS / len(one.panels)), height=2.7),
                )
            ],
            one.name,
        )
        for one in pictures(summary)
        if one.panels
    ]


def _names(picture: Picture) -> list[str]:
    """Return the names of the threats that have a panel."""
    return [shown.name for threat, shown in THREATS.items() if threat in picture.panels]
