"""What a search by gradient matching answers for a victim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from attacks.contracts import Reconstruction
from attacks.engines.plain import matched, norm_of
from attacks.matching.film import Pictures
from attacks.matching.problem import MatchingProblem
from attacks.matching.search import Search
from attacks.matching.victims import Victims
from fl_sim.losses import free_targets, labels_of
from fl_sim.records import InputSpec
from fl_sim.tokens import one_hot, tokens_of

MATCHED = 0.01
"""Distance of an answer's update from the captured one, relative to its norm, up to which the answer is a match."""


def answer_of(
    victims: Victims, victim: int, problem: MatchingProblem, search: Search, facts: Mapping[str, Any]
) -> Reconstruction:
    """Return the result of the search for one victim."""
    capture = victims.captures[victim]
    row = torch.tensor([victim])
    points, losses = (search.last, search.last_loss) if search.ends_last else (search.best, search.best_loss)
    inputs, logits = problem.split(points[row].cpu().float(), row)
    last, _ = problem.split(search.last[row].cpu().float(), row)
    known = victims.labels[victim] if victims.labels is not None else None
    curve = search.curves[victim]
    pictures = search.pictures.get(victim)
    if pictures:
        facts = {**facts, **snapshots_of(pictures, problem, capture.model.input, victim)}
    return Reconstruction(
        capture_id=capture.id,
        inputs=clamped(inputs[0], capture.model.input),
        labels=known.cpu() if known is not None else _found_labels(victims, victim, logits, float(losses[victim])),
        matching_loss=float(losses[victim]),
        last_inputs=clamped(last[0], capture.model.input),
        loss_history=curve[~curve.isnan()].cpu().float(),
        iterations=int(search.iterations[victim]),
        gradient_evaluations=int(search.evaluations[victim]),
        restarts=int(search.attempts[victim]),
        stop_reason=search.reasons[victim],
        **facts,
    )


def snapshots_of(
    pictures: Pictures, problem: MatchingProblem, spec: InputSpec, victim: int | None = None
) -> dict[str, Any]:
    """Return the pictures of a search as fields of its answer.

    Args:
        pictures: {step: candidate (unknowns,)}.
        problem: the problem that was searched.
        spec: spec of the inputs.
        victim: the number of its capture among all; needed of texts only.
    """
    points = torch.stack(list(pictures.values())).cpu().float()
    inputs, _ = problem.split(points, None if victim is None else torch.full((len(points),), victim))
    return {
        "snapshots": torch.stack([clamped(one, spec) for one in inputs]),
        "snapshot_steps": torch.tensor(list(pictures)),
    }


def _found_labels(victims: Victims, victim: int, logits: Tensor | None, loss: float) -> Tensor:
    """Return the labels (N,) that a search found, or the likely ones if its loss says that it did not match the update.

    Labels with which the update is not matched mean little. Of 72 labels of a trained LeNet (tests/bench_labels.py, N =
    2 and 4, 60 iterations), 58 were among the likely ones and 32 among those of searches that started there.
    """
    assert logits is not None  # noqa: S101 - there are logits if and only if there are no labels
    capture, likely = victims.captures[victim], victims.likely[victim] if victims.likely else None
    is_matched = loss <= (MATCHED * norm_of(capture, matched(capture))) ** 2
    if likely is not None and not is_matched:
        return likely.cpu()
    return labels_of(capture.training, free_targets(capture.training, logits[0]))


def clamped(inputs: Tensor, spec: InputSpec) -> Tensor:
    """Return images clamped to the range of the data; for events, only NaN and infinite values are replaced.

    Of texts, the most probable token of each position is returned, one-hot.

    Source: arXiv 2511.21181, Table III, which clamps images but not events.
    """
    finite = torch.nan_to_num(inputs, nan=spec.low)
    if spec.vocabulary:
        return one_hot(tokens_of(finite), spec)
    return finite if spec.timesteps else finite.clamp(spec.low, spec.high)
