"""The row of one attacked example."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fl_sim.errors import DataError
from fl_sim.specs import LATER, Scalar
from judges.runs.identity import Approach, Attacked
from judges.runs.tables import read_rows, texts, write_rows

DIVERGED = "diverged"

LARGEST_MISMATCH = 0.05
"""Largest distance between the captured update and that of the truth, relative to its norm, that rounding explains.

Float32 leaves 1e-7 for a gradient, and up to 1e-3 for the difference of weights after small steps."""
SOLVED_MSE = 1e-3
RECOGNISABLE_SSIM = 0.5


@dataclass(frozen=True, kw_only=True)
class Context(Approach, Attacked):
    """The columns that say which rows belong together, without the example and its measurements.

    Attributes:
        experiment, cell: names of the run and of the combination.
        guess: how the attack draws its initial guess. Attacks with the same guess and threshold share a no-op control.
        adversary: the adversary's knowledge as a letter, see `attacks.AttackEntry`; "" for a control without attack.
        auxiliary: the adversary's auxiliary data, such as "mnist train 4000"; "" for none.
        seed: root seed of the repetition.
        repeat: number of the repetition.
        round: round of the federation in which the update was captured, from 1.
        timesteps: T of a spiking model; 0 for an ANN.
        epsilon, delta, privacy_unit: what the defence claims against the server, see `fl_sim.defences.claims.Claim`;
            None and "" where it claims nothing.
    """

    experiment: str = ""
    cell: str = ""
    guess: str = ""
    adversary: str = ""
    auxiliary: str = ""
    seed: int = 0
    repeat: int = 0
    round: int = 0
    timesteps: int = 0
    epsilon: float | None = None
    delta: float | None = None
    privacy_unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Score(Context):
    """What one attack achieved on one example. A diverged attack has a row too, with every success False,
    unless it was tried under the paper's own protocol.

    Attributes:
        thresholding: how the answer became spikes, see `attacks.thresholding`; "none" if it did not.
        tau: the threshold; None if there was none.
        capture_id, example: the victim: the captured update and the index of the original in its batch.
        ssim, psnr_db, mse, l2: metrics of the attack's answer, see `judges.scoring.image_metrics`. SSIM is None where
            it is not defined, for pictures smaller than 7x7, and for texts, of which PSNR is None too.
        label: the true label.
        label_recovered: the label that the attack names for the answer that is paired with this example; -1 for none.
        label_correct: whether they agree; an update may reveal the label although the picture is not found.
        label_found: whether the label is among those that the attack names for the batch, each of which accounts for
            one example. The labels of a batch have no order, so this says what an update reveals of them; the mean
            over a batch is the size of the intersection of two multisets divided by N. Equal to `label_correct` in a
            batch of one.
        judge_label, judge_confidence: what the judge sees in the answer; None without a judge.
        judge_correct: whether the judge sees the true label, and the attack has not diverged.
        truth_judge_correct: whether the judge sees the true label in the true input: the ceiling of `judge_correct`.
        matching_loss, iterations, gradient_evaluations, restarts, stop_reason: as reported by the attack.
        seconds: wall time of the call of the attack, measured around it, divided by the number of its victims.
        solved: MSE below 1e-3 of the squared data range, or all tokens of a text in their places, and not diverged.
        recognisable: SSIM above 0.5, or all tokens of a text named in any order, and not diverged; None for pictures of
            which SSIM is not defined.
        last_ssim, last_psnr_db, last_mse, last_l2: metrics of the last iterate, which is what the published algorithms
            answer, clamped to the data range if it is a still image.
        last_judge_correct: whether the judge sees the true label in the last iterate, if that is finite; None without a
            judge.
        moved: root mean square distance between the attack's answer and its initial guess, in units of the data range;
            of texts, the share of tokens that differ. None if the guess is not known, or if the attack was restarted
            from another one.
        engine: what evaluated the attack's loss, see `attacks.engines`; "" for none.
        refused: {attack that an ensemble is made of: why it does not take this victim}; None where none refused, or in
            rows of older versions.
        mismatch: distance between the update of the truth, as the attack computes it, and the captured one, relative to
            its norm; None if it was not measured. About 0, unless a defence changed the update, the client drew random
            numbers, or the attack was told wrong facts about it.
        answer_mismatch: the same distance for the update of the attack's answer with its labels, computed here whatever
            the attack says of itself; about 0 where the answer explains the update. None where it names no label, is
            not finite, or was not measured.
        token_accuracy, tokens_found: share of a text's tokens that the answer has in their places, and in any order,
            see `judges.scoring.text_metrics`; None for pictures.
        first_loss: matching loss at the start of the attempt that led to the answer; None if it is not reported.
    """

    thresholding: str
    tau: float | None
    capture_id: str
    example: int
    ssim: float | None
    psnr_db: float | None
    mse: float
    l2: float
    label: int
    label_recovered: int
    label_correct: bool
    label_found: bool
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
    recognisable: bool | None
    last_ssim: float | None
    last_psnr_db: float | None
    last_mse: float
    last_l2: float
    last_judge_correct: bool | None
    moved: float | None = None
    first_loss: float | None = None
    engine: str = ""
    mismatch: float | None = None
    answer_mismatch: float | None = None
    token_accuracy: float | None = None
    tokens_found: float | None = None
    refused: Mapping[str, Scalar] | None = field(default=None, metadata=LATER)

    @property
    def diverged(self) -> bool:
        """Return whether the attack diverged."""
        return self.stop_reason == DIVERGED

    @property
    def success(self) -> bool:
        """Return whether this counts as a success: it is recognisable, or solved where SSIM is not defined."""
        return self.solved if self.recognisable is None else self.recognisable

    @property
    def similarity(self) -> float:
        """Return by what an attack and its controls are compared: SSIM, or minus the MSE where that is not defined.

        For texts it is the mean of the shares of tokens found and of those in their places.
        """
        if self.token_accuracy is not None and self.tokens_found is not None:
            return (self.token_accuracy + self.tokens_found) / 2
        return -self.mse if self.ssim is None else self.ssim

    @property
    def victim(self) -> tuple[object, ...]:
        """Return the key that an attack and its controls share."""
        return self.group, self.seed, self.repeat, self.capture_id, self.example


def write_scores(scores: Sequence[Score], path: Path) -> Path:
    """Write rows as CSV, atomically; see `judges.runs.tables`."""
    return write_rows(Score, scores, path)


def read_scores(path: Path) -> list[Score]:
    """Read the rows that `write_scores` wrote; see `judges.runs.tables.read_rows`."""
    return read_rows(Score, path)


def digests_of(rows: Iterable[Score]) -> dict[str, str]:
    """Return {cell: SHA-256 of its rows, in their order}."""
    cells: dict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(texts(row))
    return {cell: hashlib.sha256(json.dumps(own).encode()).hexdigest() for cell, own in cells.items()}


def finished_rows(path: Path, digests: Mapping[str, str]) -> tuple[list[Score], set[str]]:
    """Return the rows of the cells that an earlier call has finished, and the cells whose rows are gone or changed.

    Args:
        path: of the rows; they may be missing or unreadable.
        digests: {cell: `digests_of` its rows} as the call left them. Rows of other cells are those of a call that has
            not finished, and are left out.
    """
    try:
        rows = read_scores(path)
    except DataError:
        rows = []
    found = digests_of(rows)
    lost = {cell for cell, digest in digests.items() if found.get(cell) != digest}
    return [row for row in rows if row.cell in digests and row.cell not in lost], lost
