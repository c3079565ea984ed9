"""The answers of membership inferences, checked and timed where they are taken; see `attacks.answers`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.answers import AttackError, Call, named_failure
from attacks.contracts import Background, Candidates, MembershipInference, MembershipScores, Observed, Progress


def scores_of(
    attack: MembershipInference,
    observed: Observed,
    candidates: Candidates,
    background: Background,
    call: Call,
    progress: Progress | None = None,
) -> MembershipScores:
    """Return the answer of a membership inference, checked, with the wall time of the call as its seconds.

    Args:
        attack: built with the settings of the call.
        observed, candidates, background: what it is given.
        call: what the attack is told.
        progress: called whenever candidates are finished.

    Raises:
        AttackError: the attack raised an error, or the answer is none.
        MemoryError, RuntimeError, OSError: memory does not suffice.
    """
    started = time.perf_counter()
    with named_failure(call, observed.id):
        found: object = attack.score(
            observed, candidates, background, seed=call.seed, device=call.device, progress=progress
        )
        problem = problem_of_scores(found, len(candidates.labels), {"observed_id": observed.id, **call.told})
    if problem or not isinstance(found, MembershipScores):
        raise AttackError(f"{call.described} on {observed.id}: {problem}")
    return dataclasses.replace(found, scores=found.scores.double().cpu(), seconds=time.perf_counter() - started)


def problem_of_scores(found: object, count: int, told: Mapping[str, object]) -> str:
    """Return what is wrong with the answer of a membership inference, or "".

    Args:
        found: the answer.
        count: number of candidates.
        told: {field: value} that the answer must repeat.
    """
    if not isinstance(found, MembershipScores):
        return f"expected MembershipScores, got a {type(found).__name__}"
    for field, expected in told.items():
        value = getattr(found, field)
        if (dict(value) if isinstance(expected, dict) else value) != expected:
            return f"the answer's {field} is {value!r}, expected {expected!r}"
    scores = found.scores
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (count,) or not scores.is_floating_point():
        return f"expected the answer's scores as floats of shape ({count},), got {_shown(scores)}"
    return "" if bool(torch.isfinite(scores).all()) else "the answer's scores hold NaN or infinity"


def _shown(scores: object) -> str:
    return f"{scores.dtype} of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
