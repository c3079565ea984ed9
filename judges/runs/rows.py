"""The row that a judge writes, one for each example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.runs.tables import read_rows, write_rows

CONTROL_PREFIX = "control: "
DIVERGED = "diverged"
SOLVED_MSE = 1e-3
RECOGNISABLE_SSIM = 0.5
_ROUND = re.compile(r"/r(\d{3,})-c\d{3,}")


class Answer:
    """What the rows of all kinds of attack have in common."""

    attack: str
    stop_reason: str

    @property
    def is_control(self) -> bool:
        """Return whether the row is of a control, not of an attack."""
        return self.attack.startswith(CONTROL_PREFIX)

    @property
    def diverged(self) -> bool:
        """Return whether the attack diverged."""
        return self.stop_reason == DIVERGED


@dataclass(frozen=True)
class Score(Answer):
    """What one attack achieved on one example. A diverged attack is a row too, with every success False.

    Attributes:
        experiment, cell: names of the run and of the combination that the row belongs to.
        dataset, model, init, attack, defence: what was attacked, and how.
        thresholding: how the answer became spikes, see `attacks.thresholding`; "none" where it did not.
        tau: the threshold; None where there was none.
        seed: root seed of the repetition.
        repeat: number of the repetition.
        capture_id, example: the victim: the captured update and the index of the original in its batch.
        ssim, psnr_db, mse, l2: of the attack's answer, see `judges.scoring.image_metrics`.
        label: the true one.
        label_recovered: as the attack believes; -1 where it believes none.
        label_correct: whether they agree; the update may give the label away though the picture is not found.
        judge_label, judge_confidence: what the judge sees in the answer; None without a judge.
        judge_correct: the judge sees the true label, and the attack has not diverged.
        truth_judge_correct: the judge sees the true label in the true input: the ceiling of the column before.
        matching_loss, iterations, gradient_evaluations, restarts, stop_reason: as the attack reports them.
        seconds: wall time of this example's share of the attack.
        solved: MSE below 1e-3 of the squared data range, and not diverged.
        recognisable: SSIM above 0.5, and not diverged.
        last_ssim, last_psnr_db, last_mse: of the attack's last iterate, held to the data range; for comparison.
        round: of the federation, in which the update was captured, from 1; 0 where the capture id tells none.
        timesteps: T of a spiking model; 0 of an ANN.
        moved: root mean square distance between the attack's answer and its own initial guess, in units of the data
            range; None where the guess is not known, or where the attack was restarted from another one.
        first_loss: the matching loss that the attempt behind the answer started from; None where the attack tells none.

    The last four columns have defaults for rows that were written before there were such columns.
    """

    experiment: str
    cell: str
    dataset: str
    model: str
    init: str
    attack: str
    defence: str
    thresholding: str
    tau: float | None
    seed: int
    repeat: int
    capture_id: str
    example: int
    ssim: float
    psnr_db: float
    mse: float
    l2: float
    label: int
    label_recovered: int
    label_correct: bool
    judge_label: int | None
    judge_correct: bool | None
    judge_confidence: float | None
    truth_judge_correct: bool | None
    matching_loss: float
    iterations: int
    gradient_evaluations: int
    restarts: int
    stop_reason: str
    seconds: float
    solved: bool
    recognisable: bool
    last_ssim: float
    last_psnr_db: float
    last_mse: float
    round: int = 0
    timesteps: int = 0
    moved: float | None = None
    first_loss: float | None = None

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Return what was attacked: (dataset, model, init, defence)."""
        return self.dataset, self.model, self.init, self.defence

    @property
    def victim(self) -> tuple[str | int, ...]:
        """Return the key that an attack and its controls share."""
        return (*self.group, self.seed, self.repeat, self.capture_id, self.example)


def write_scores(scores: Sequence[Score], path: Path) -> Path:
    """Write rows as CSV, atomically; see `judges.runs.tables`."""
    return write_rows(Score, scores, path)


def read_scores(path: Path) -> list[Score]:
    """Read the rows that `write_scores` wrote.

    Raises:
        DataError: as `judges.runs.tables.read_rows`.
    """
    rows = read_rows(Score, path)
    return [row if row.round else replace(row, round=round_of(row.capture_id)) for row in rows]


def round_of(capture_id: str) -> int:
    """Return the server round that a capture id tells, FEDERATION/rRRR-cCCC; 0 where it tells none."""
    found = _ROUND.search(capture_id)
    return int(found[1]) if found else 0
