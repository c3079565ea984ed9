"""The pictures of one cell in a report, chosen by rank, not by hand, and its loss curves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attacks.contracts import Reconstruction
from fl_sim.records import InputSpec, SealedBatch
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import Answers, Gallery
from judges.runs.rows import Context, Score

ROLES = {"best": 0.0, "upper quartile": 0.25, "median": 0.5, "lower quartile": 0.75, "worst": 1.0}
"""Relative position of each role in the order by SSIM, best first."""

MOST_CURVES = 24
MOST_ANSWERS = 24


def build_gallery(
    scores: Sequence[Score],
    reconstructions: Sequence[Reconstruction],
    sealed: Sequence[SealedBatch],
    orders: Sequence[Tensor],
    *,
    spec: InputSpec,
) -> Gallery:
    """Return the gallery of one cell.

    Args:
        scores: the rows of the cell's attack: those of the first reconstruction, then those of the second, ...
        reconstructions, sealed: the attack's answers, at least one, and the truth of each, in the same order.
        orders: the assignment of the answers of each batch to originals, see `judges.scoring.assignment`.
        spec: spec of the inputs.

    Raises:
        ValueError: rows, reconstructions and truth do not belong together.
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
        loss_curves=pad_sequence(
            [item.loss_history.float() for item in reconstructions[:MOST_CURVES]],
            batch_first=True,
            padding_value=torch.nan,
        ),
        curve_recognisable=tuple(all(row.recognisable for row in own) for own in rows[:MOST_CURVES]),
    )


def build_answers(context: Context, results: Sequence[Reconstruction], *, spec: InputSpec) -> Answers:
    """Return the first answers of a cell without a sealed truth; `results` are those of its attack, at least one."""
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
    """Return {role: rank} for `count` rows; each rank has one role, best, worst and median before the quartiles.

    Args:
        count: number of rows.
        diverged: ranks of diverged rows, ascending; the middle one is added if no role shows one of them.
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
    """Return {role: index of the row}; for events by l2, since an empty answer to sparse events has a high SSIM."""
    order = sorted(range(len(scores)), key=lambda at: scores[at].l2 if events else -scores[at].ssim)
    ranks = choose_roles(len(scores), [rank for rank, at in enumerate(order) if scores[at].diverged])
    return {role: order[rank] for role, rank in ranks.items()}


def _rows_of_each(
    scores: Sequence[Score], reconstructions: Sequence[Reconstruction], sealed: Sequence[SealedBatch]
) -> list[Sequence[Score]]:
    """Return the rows of each reconstruction; a ValueError if they do not belong together."""
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


def _pair(answer: Reconstruction, sealed: SealedBatch, order: Tensor, example: int) -> tuple[Tensor, Tensor]:
    """Return the original at `example` and its reconstruction, each (C, H, W)."""
    truth, ours = sealed.inputs, answer.inputs
    if truth.ndim == 5:
        truth, ours = truth.sum(dim=0), ours.sum(dim=0)
        brightest = truth[example].max().clamp(min=1e-12)
        truth, ours = truth / brightest, ours / brightest
    return truth[example].float(), ours[order[example]].float()


def _picture(inputs: Tensor, place: int) -> Tensor:
    """Return one example of images (N, C, H, W) or events (T, N, C, H, W) as a picture (C, H, W)."""
    if inputs.ndim == 5:
        summed = inputs[:, place].sum(dim=0)
        return (summed / summed.max().clamp(min=1e-12)).float()
    return inputs[place].float()
