"""Rows of a run on recordings of events, with numbers that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from judges.runs.measures import ClassDistances, Spread
from judges.runs.rows import Score

Row = Callable[..., Score]
GUESS = {0.1: 450.0, 0.5: 40.0}
"""l2 of the thresholded guess at each tau; that of the empty recording is 40."""

ANSWERS: Mapping[str, Mapping[float, float]] = {
    "post_optimisation": {0.1: 500.0, 0.5: 120.0},
    "in_optimisation": {0.1: 452.0, 0.5: 40.1},
    "straight_through": {0.1: 60.0, 0.5: 30.0},
}
DISTANCES = {"dvs_gesture": ClassDistances(3, Spread(1, 61.5, 0.0, 61.5, 61.5), Spread(2, 62.5, 1.0, 61.0, 64.0), 41.0)}


def spike_rows(row: Row, *, dataset: str = "dvs_gesture", attacks: tuple[str, ...] = ("dlg", "idlg")) -> list[Score]:
    """Return four victims of each attack, way of thresholding and tau, and of their controls."""
    rows: list[Score] = []

    def add(l2: float, **changes: Any) -> None:
        rows.extend(
            row(dataset=dataset, model="spiking_lenet", guess="spikes", capture_id=f"v{index}", repeat=index,
                l2=l2 * (1 + 0.001 * (index - 1.5)), ssim=0.95, judge_correct=index == 0, **changes)
            for index in range(4)
        )  # fmt: skip

    for way, answers in ANSWERS.items():
        for tau, l2 in answers.items():
            for attack in attacks:
                name = f"{attack}-thresholding={way}-tau={tau}"
                add(l2, attack=attack, cell=f"f/{name}", thresholding=way, tau=tau)
    for tau, l2 in GUESS.items():
        add(l2, control="no-op", cell=f"f/control: no-op (spikes, tau {tau})", thresholding="in_optimisation", tau=tau)
    add(40.0, control="black", cell="f/control: black")
    return rows
