"""The pictures of one cell that a report shows, chosen by rank, not by hand, and its loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from attacks.contracts import Reconstruction
from fl_sim.records import InputSpec, SealedBatch
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import Answers, Gallery
from judges.runs.rows import Context, Score

ROLES = {"best": 0.0, "upper quartile": 0.25, "median": 0.5, "lower quartile": 0.75, "worst": 1.0}
"""Where in the order by SSIM, best first, a picture of that name stands."""

MOST_CURVES = 24
MOST_ANSWERS = 24


class Reconstructed(Protocol):
    """The part of a reconstruction that a gallery shows."""

    @property
    def capture_id(self) -> str:
        """Return the id of the captured update."""

    @property
    def inputs(self) -> Tensor:
        """Return the attack's answer."""

    @property
    def loss_history(self) -> Tensor:
        """Return the matching losses, (outer steps,)."""


def build_gallery(
    scores: Sequence[Score],
    reconstructions: Sequence[Reconstructed],
    sealed: Sequence[SealedBatch],
    orders: Sequence[Tensor],
    *,
    spec: InputSpec,
) -> Gallery:
    """Return the gallery of one cell.

    Args:
        scores: the rows of the cell's attack: those of the first reconstruction, then those of the second, ...
        reconstructions, sealed: the attack's answers, at least one, and the truth behind each, in the same order.
        orders: which answer of each batch belongs to which original, see `judges.scoring.assignment`.
        spec: of the inputs.

    Raises:
        ValueError: the three do not belong together.
    """
    rows = _rows_of_each(scores, reconstructions, sealed)
    roles = _places(scores, events=spec.timesteps > 0)
    places = list(roles.values())
    chosen = [scores[place] for place in places]
    owner = [batch for batch, own in enumerate(rows) for _ in own]
    pairs = [
        _pair(reconstructions[owner[at]], sealed[owner[at]], orders[owner[at]], scores[at].example) for at in places
    ]
    first = scores[0]
    return Gallery(
        **columns_of(first, Approach, Attacked),
        cell=first.cell,
        thresholding=first.thresholding,
        tau=first.tau,
        low=spec.low,
        high=spec.high,
        timesteps=spec.timesteps,
        roles=tuple(roles),
        capture_ids=tuple(score.capture_id for score in chosen),
        labels=tuple(score.label for score in chosen),
        ssim=tuple(score.ssim for score in chosen),
        psnr_db=tuple(score.psnr_db for score in chosen),
        l2=tuple(score.l2 for score in chosen),
        stop_reasons=tuple(score.stop_reason for score in chosen),
        truth=torch.stack([truth for truth, _ in pairs]),
        reconstructions=torch.stack([ours for _, ours in pairs]),
        loss_curves=_curves([item.loss_history for item in reconstructions[:MOST_CURVES]]),
        curve_recognisable=tuple(all(row.recognisable for row in own) for own in rows[:MOST_CURVES]),
    )


def build_answers(context: Context, results: Sequence[Reconstruction], *, spec: InputSpec) -> Answers:
    """Return the first answers of a cell whose truth nobody kept.

    Args:
        context: of the cell.
        results: of its attack, at least one.
        spec: of the inputs.
    """
    pairs = [(result, place) for result in results for place in range(len(result.labels))][:MOST_ANSWERS]
    return Answers(
        **columns_of(context, Approach, Attacked),
        cell=context.cell,
        captures=len(results),
        low=spec.low,
        high=spec.high,
        capture_ids=tuple(result.capture_id for result, _ in pairs),
        labels=tuple(int(result.labels[place]) for result, place in pairs),
        stop_reasons=tuple(str(result.stop_reason) for result, _ in pairs),
        losses=tuple(float(result.matching_loss) for result, _ in pairs),
        pictures=torch.stack([_picture(result.inputs, place) for result, place in pairs]),
    )


def choose_roles(count: int, diverged: Sequence[int] = ()) -> dict[str, int]:
    """Return {role: rank} for `count` rows; a rank is named once, best, worst and median before the quartiles.

    Args:
        count: of the rows.
        diverged: ranks of those that diverged, ascending; the middle one is added where no role shows any.
    """
    roles: dict[str, int] = {}
    for name in ("best", "worst", "median", "upper quartile", "lower quartile"):
        rank = round(ROLES[name] * (count - 1))
        if rank not in roles.values():
            roles[name] = rank
    ranked = dict(sorted(roles.items(), key=lambda item: item[1]))
    lost = {} if set(diverged) & set(roles.values()) or not diverged else {"diverged": diverged[len(diverged) // 2]}
    return ranked | lost


def _places(scores: Sequence[Score], *, events: bool) -> dict[str, int]:
    """Return {role: index of the row}; of events by l2: the empty answer to a sparse recording has a high SSIM."""
    order = sorted(range(len(scores)), key=lambda at: scores[at].l2 if events else -scores[at].ssim)
    ranks = choose_roles(len(scores), [rank for rank, at in enumerate(order) if scores[at].diverged])
    return {role: order[rank] for role, rank in ranks.items()}


def _rows_of_each(
    scores: Sequence[Score], reconstructions: Sequence[Reconstructed], sealed: Sequence[SealedBatch]
) -> list[Sequence[Score]]:
    """Return the rows of each reconstruction, or raise ValueError where they do not belong together."""
    rows: list[Sequence[Score]] = []
    start = 0
    for answer, truth in zip(reconstructions, sealed, strict=True):
        own = scores[start : start + len(truth.labels)]
        start += len(truth.labels)
        if {answer.capture_id, truth.capture_id, *(score.capture_id for score in own)} != {truth.capture_id}:
            raise ValueError(f"rows, reconstruction and truth of {truth.capture_id} are not in the same order")
        rows.append(own)
    if start != len(scores) or not rows:
        raise ValueError(f"{len(scores)} rows do not belong to {start} originals")
    return rows


def _pair(answer: Reconstructed, sealed: SealedBatch, order: Tensor, example: int) -> tuple[Tensor, Tensor]:
    """Return the original at `example` and its reconstruction, each (C, H, W)."""
    truth, ours = sealed.inputs, answer.inputs
    if truth.ndim == 5:
        truth, ours = truth.sum(dim=0), ours.sum(dim=0)
        brightest = truth[example].max().clamp(min=1e-12)
        truth, ours = truth / brightest, ours / brightest
    return truth[example].float(), ours[order[example]].float()


def _curves(histories: Sequence[Tensor]) -> Tensor:
    """Return histories of different lengths as one tensor, padded with NaN."""
    longest = max(len(history) for history in histories)
    curves = torch.full((len(histories), longest), torch.nan)
    for row, history in zip(curves, histories, strict=True):
        row[: len(history)] = history.float()
    return curves


def _picture(inputs: Tensor, place: int) -> Tensor:
    """Return one example of (N, C, H, W), or of events (T, N, C, H, W), as a picture (C, H, W)."""
    if inputs.ndim == 5:
        summed = inputs[:, place].sum(dim=0)
        return (summed / summed.max().clamp(min=1e-12)).float()
    return inputs[place].float()
