"""The attack's own loss at given examples: whether an attack on an update looks for the right thing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from attacks.engines.choice import Choice, choose, open_engine
from attacks.engines.engine import Engine
from attacks.engines.plain import matched, norm_of
from attacks.replay.engine import ReplayedClients
from fl_sim.losses import targets_of
from fl_sim.observed import batch_size, same_problem, steps_as_used
from fl_sim.records import CapturedUpdate

Examples = tuple[Tensor, Tensor]
"""Inputs (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps, and labels (N,).

Instead of the N different examples there may be all that the steps use, one after another, those of later epochs too.
"""


def mismatch(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> float:
    """Return how far the update of examples is from the captured one; see `mismatches`."""
    return mismatches([capture], [(inputs, labels)])[0]


def mismatches(captures: Sequence[CapturedUpdate], examples: Sequence[Examples]) -> list[float]:
    """Return how far the updates of examples are from the captured ones, relative to their norm: about 0 at the truth.

    Where later epochs use the examples in another order, the update of the N different examples is not the captured
    one: an attack, which cannot know their order, takes it to be that of the first epoch. That of all examples is.

    Args:
        captures: updates of any clients.
        examples: of each capture.

    Raises:
        ConfigError: no engine can evaluate a model, or facts about a client are missing.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, capture in enumerate(captures):
        groups.setdefault((same_problem(capture), len(examples[index][1])), []).append(index)
    found: dict[int, float] = {}
    for group in groups.values():
        choice, first = choose([captures[index] for index in group]), captures[group[0]]
        is_double = next(iter(first.parameters.values())).dtype == torch.float64
        precision = torch.float64 if is_double else torch.float32
        count, names = len(examples[group[0]][1]), matched(first)
        engine = _opened(first, choice, count, precision)
        for index in group:
            engine.replace(0, captures[index])
            distance = _distance(engine, captures[index], examples[index], precision)
            norm = norm_of(captures[index], names)
            found[index] = distance / norm if norm > 0 else float(distance > 0)
    return [found[index] for index in range(len(captures))]


def _opened(capture: CapturedUpdate, choice: Choice, count: int, precision: torch.dtype) -> Engine:
    """Return the engine for a victim, which takes the examples in their order of use if there are so many."""
    if count == batch_size(capture):
        return open_engine([capture], choice, device="cpu", precision=precision)
    return ReplayedClients([capture], device="cpu", precision=precision, steps=steps_as_used(capture))


def _distance(engine: Engine, capture: CapturedUpdate, examples: Examples, precision: torch.dtype) -> float:
    """Return the distance of the update of examples to that of the victim with which the engine is loaded."""
    inputs, labels = examples
    targets = targets_of(capture.training, labels, capture.model.input.classes).to(precision)
    squared = engine.distances(inputs.to(precision)[None].requires_grad_(), targets[None]).detach()
    return float(squared[0].sqrt())
