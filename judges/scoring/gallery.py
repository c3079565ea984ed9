"""The pictures of one cell in a report, chosen by rank, not by hand, and its loss curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attacks.contracts import Inversion, Reconstruction
from fl_sim.datasets.examples import Dataset
from fl_sim.records import InputSpec, SealedBatch
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.pictures import ANSWER, NEAREST, TRUTH, Pictures
from judges.runs.rows import Context, Score
from judges.runs.rows.classes import AttackedModel, ClassScore
from judges.scoring.class_metrics import rate_decoded
from judges.scoring.image_metrics import has_ssim, ssim
from judges.scoring.text_metrics import written

ROLES = {"best": 0.0, "upper quartile": 0.25, "median": 0.5, "lower quartile": 0.75, "worst": 1.0}
"""Relative position of each role in the order by SSIM, best first."""

MOST_VICTIMS, MOST_BYTES = 12, 1_000_000
"""Of how many victims every cell of a group keeps pictures, whatever their rank, and about how much that may take."""

_NUMBERS = ("ssim", "psnr_db", "l2", "token_accuracy", "tokens_found")
"""Columns of the rows that go with a picture or text, as far as they are defined."""

MOST_CURVES = 24
MOST_ANSWERS = 24


def build_gallery(
    scores: Sequence[Score],
    reconstructions: Sequence[Reconstruction],
    sealed: Sequence[SealedBatch],
    orders: Sequence[Tensor],
    *,
    spec: InputSpec,
) -> Pictures:
    """Return truth and answer of some victims of a cell, best first, by SSIM, or by l2 for events and small pictures.

    After those that were chosen by rank come victims that are the same in all cells, so that a report can set the
    answers of different attacks to one update side by side.

    The loss curves are those of captures spread evenly over all, so that no client or round stands for the others.

    Args:
        scores: the rows of the cell's attack: those of the first reconstruction, then those of the second, ...
        reconstructions, sealed: the attack's answers, at least one, and the truth of each, in the same order.
        orders: the assignment of the answers of each batch to originals, see `judges.scoring.assignment`.
        spec: spec of the inputs.

    Raises:
        ValueError: rows, reconstructions and truth do not belong together.
    """
    rows = _rows_of_each(scores, reconstructions, sealed)
    owner = [batch for batch, own in enumerate(rows) for _ in own]
    roles = _places(scores, events=spec.timesteps > 0)
    measured = [name for name in _NUMBERS if getattr(scores[0], name) is not None]
    afforded = max(2, min(MOST_VICTIMS, MOST_BYTES // (8 * math.prod(sealed[0].inputs.shape[-3:]))))
    rows_shown = list(dict.fromkeys((*roles.values(), *_spread(len(scores), afforded))))
    chosen = [scores[at] for at in rows_shown]
    pairs, places = [], []
    for at, row in zip(rows_shown, chosen, strict=True):
        batch = owner[at]
        places.append((reconstructions[batch], int(orders[batch][row.example])))
        ours = _summed(reconstructions[batch].inputs, places[-1][1])
        pairs.append((_summed(sealed[batch].inputs, row.example), ours))
    curves = _spread(len(reconstructions), MOST_CURVES)
    histories = [reconstructions[at].loss_history.float() for at in curves]
    return Pictures(
        **columns_of(scores[0], Approach, Attacked),
        cell=scores[0].cell,
        thresholding=scores[0].thresholding,
        tau=scores[0].tau,
        captures=len(reconstructions),
        subjects=tuple(row.capture_id for row in chosen),
        roles=tuple(roles),
        **_shown(dict(zip((TRUTH, ANSWER), zip(*pairs, strict=True), strict=True)), spec),
        numbers=_columns(chosen, "label", "example", *measured),
        words=_columns(chosen, "stop_reason"),
        limits=(spec.low, spec.high),
        timesteps=spec.timesteps,
        loss_curves=pad_sequence(histories, batch_first=True, padding_value=torch.nan),
        curve_subjects=tuple(reconstructions[at].capture_id for at in curves),
        curve_recognisable=tuple(all(row.success for row in rows[at]) for at in curves),
        **_searches(places, [truth for truth, _ in pairs], spec),
    )


def build_answers(context: Context, results: Sequence[Reconstruction], *, spec: InputSpec) -> Pictures:
    """Return answers of a cell without a sealed truth, the first of every capture before the second of any.

    Where there are more captures than answers to show, they are spread evenly over all.

    Args:
        context: the columns of the cell.
        results: the answers of its attack, at least one.
        spec: spec of the inputs.
    """
    spread = [results[at] for at in _spread(len(results), MOST_ANSWERS)]
    turns = sorted((place, at) for at, result in enumerate(spread) for place in range(len(result.labels)))
    first = [(spread[at], place) for at, place in sorted((at, place) for place, at in turns[:MOST_ANSWERS])]
    answers = [_summed(result.inputs, place) for result, place in first]
    return Pictures(
        **columns_of(context, Approach, Attacked),
        cell=context.cell,
        captures=len(results),
        subjects=tuple(result.capture_id for result, _ in first),
        **_shown({ANSWER: answers}, spec),
        numbers={
            "label": tuple(int(result.labels[place]) for result, place in first),
            "matching_loss": tuple(float(result.matching_loss) for result, _ in first),
        },
        words={"stop_reason": tuple(str(result.stop_reason) for result, _ in first)},
        limits=(spec.low, spec.high),
        timesteps=spec.timesteps,
    )


def build_album(inversion: Inversion, rows: Sequence[ClassScore], nearest: Sequence[int], dataset: Dataset) -> Pictures:
    """Return the answers of a model inversion for all classes, with the spikes of one, the fourth or the middle class.

    Args:
        inversion: the answer.
        rows: one for each class, in the order of the answer.
        nearest: index of the training example nearest to each answer.
        dataset: data set of the target; the first training example of each class is shown as its truth.
    """
    labels, names = dataset.train.labels, (*dataset.class_names, "nothing")  # the judge's -1
    shown = torch.stack([(labels == row.label).nonzero()[0, 0] for row in rows])
    closest = torch.tensor(list(nearest))
    middle = len(rows) // 2 if len(rows) < 7 else 3
    return Pictures(
        **columns_of(rows[0], Approach, AttackedModel),
        cell=rows[0].cell,
        subjects=tuple(names[row.label] for row in rows),
        images={
            TRUTH: rate_decoded(dataset.train.batch(shown)[0]),
            ANSWER: rate_decoded(inversion.inputs),
            NEAREST: rate_decoded(dataset.train.batch(closest)[0]),
        },
        numbers=_columns(rows, "label", "confidence", "target_confidence"),
        words={
            **_columns(rows, "stop_reason"),
            "seen": tuple(names[row.predicted] for row in rows),
            "nearest": tuple(names[label] for label in labels[closest].tolist()),
        },
        spikes=(inversion.inputs[:, middle] if inversion.inputs.dim() == 5 else inversion.inputs[:0]).to(torch.uint8),
        spikes_of=middle,
        snapshots=inversion.snapshots,
        snapshot_steps=inversion.snapshot_steps,
    )


def _shown(kinds: Mapping[str, Sequence[Tensor]], spec: InputSpec) -> dict[str, Any]:
    """Return inputs (C, H, W) of each kind as pictures, as bright as the first kind, or as texts."""
    if spec.vocabulary:
        texts = {kind: tuple(map(written, inputs)) for kind, inputs in kinds.items()}
        return {"images": {}, "texts": texts}
    first = next(iter(kinds.values()))
    scaled = {
        kind: torch.stack([one / _brightest(beside, spec) for one, beside in zip(inputs, first, strict=True)])
        for kind, inputs in kinds.items()
    }
    return {"images": scaled}


def _searches(
    answers: Sequence[tuple[Reconstruction, int]], truths: Sequence[Tensor], spec: InputSpec
) -> dict[str, Any]:
    """Return the pictures that searches kept, as bright as the truths; {} of texts, or if no search kept any.

    Args:
        answers: reconstructions, and which of their examples.
        truths: (C, H, W) of each.
        spec: spec of the inputs.
    """
    if spec.vocabulary or all(answer.snapshots is None for answer, _ in answers):
        return {}
    found, steps, near = [], [], []
    for (answer, place), truth in zip(answers, truths, strict=True):
        shots = [] if answer.snapshots is None else [_summed(shot, place) for shot in answer.snapshots]
        shown = torch.stack(shots) if shots else truth.new_zeros(0, *truth.shape)
        found.append(shown / _brightest(truth, spec))
        steps.append(torch.zeros(0, dtype=torch.int64) if answer.snapshot_steps is None else answer.snapshot_steps)
        if has_ssim(shown) and not spec.timesteps:
            near.append(ssim(shown, truth.expand_as(shown), low=spec.low, high=spec.high) if shots else torch.zeros(0))
    told = {
        "snapshots": pad_sequence(found, batch_first=True, padding_value=torch.nan),
        "snapshot_steps": pad_sequence(steps, batch_first=True, padding_value=-1),
    }
    if near:
        own = [one.double() for one in near]
        told["snapshot_ssim"] = pad_sequence(own, batch_first=True, padding_value=torch.nan)
    return told


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
    order = sorted(range(len(scores)), key=lambda at: scores[at].l2 if events else -scores[at].similarity)
    ranks = choose_roles(len(scores), [rank for rank, at in enumerate(order) if scores[at].diverged])
    return {role: order[rank] for role, rank in ranks.items()}


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the places 0 to count - 1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


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


def _columns(rows: Sequence[Score] | Sequence[ClassScore], *names: str) -> dict[str, tuple[Any, ...]]:
    """Return {column: values} of rows."""
    return {name: tuple(getattr(row, name) for row in rows) for name in names}


def _summed(inputs: Tensor, place: int) -> Tensor:
    """Return one example of images (N, C, H, W), or of events (T, N, C, H, W) summed over time, as (C, H, W)."""
    return (inputs[:, place].sum(dim=0) if inputs.ndim == 5 else inputs[place]).float()


def _brightest(picture: Tensor, spec: InputSpec) -> Tensor:
    """Return the divisor that scales a picture: its largest value if it counts events, otherwise 1."""
    return picture.max().clamp(min=1e-12) if spec.timesteps else torch.tensor(1.0)
