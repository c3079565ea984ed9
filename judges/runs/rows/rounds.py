"""The rows of a run over rounds: one number of one threat, or of the global model, after so many rounds of training."""

from __future__ import annotations

from dataclasses import dataclass

from judges.runs.identity import Approach, Attacked

ACCURACY, SSIM, SOLVED, RECOGNISED, AUC = "held-out accuracy", "SSIM", "solved", "recognised", "AUC"
"""What rows measure: of the global model; of reconstructions, their mean SSIM and the share that is solved; of a model
inversion's answers, the share whose class the judge recognises; of a membership inference, the area under the curve of
true against false positives."""


@dataclass(frozen=True, kw_only=True)
class RoundScore(Approach, Attacked):
    """A row.

    Attributes:
        experiment: name of the run.
        cell: name of the threat, of what was attacked and of the attack or control.
        threat: kind of experiment; "" for the accuracy of the global model.
        line: attack or control, in words.
        round: r, rounds of training behind the weights that were attacked: of a model its own round, of an update that
            a client made in round r + 1 those that it was sent.
        measure: what the value is.
        value: in [0, 1] for shares.
        low, high: 95 % interval; None where there is none.
        n: number of examples, answers or candidates; of models where their server measured them on a split of its own.
        source: what was attacked, where a threat has several: as of `judges.runs.rows.membership.MembershipScore`.
    """

    experiment: str
    cell: str
    threat: str
    line: str
    round: int
    measure: str
    value: float
    low: float | None
    high: float | None
    n: int
    source: str = ""
