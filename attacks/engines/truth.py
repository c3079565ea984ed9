"""The attack's own loss at given examples: whether an attack on an update looks for the right thing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from attacks.engines.choice import choose, open_engine
from attacks.engines.engine import Engine
from attacks.engines.plain import matched, norm_of
from fl_sim.losses import targets_of
from fl_sim.observed import same_problem
from fl_sim.records import CapturedUpdate

Examples = tuple[Tensor, Tensor]
"""Inputs (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps, and labels (N,)."""


def mismatch(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> float:
    """Return how far the update of examples is from the captured one; see `mismatches`."""
    return mismatches([capture], [(inputs, labels)])[0]


def mismatches(captures: Sequence[CapturedUpdate], examples: Sequence[Examples]) -> list[float]:
    """Return how far the updates of examples are from the captured ones, relative to their norm: about 0 at the truth.

    Args:
        captures: updates of any clients.
        examples: of each capture.

    Raises:
        ConfigError: no engine can evaluate a model, or facts about a client are missing.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, capture in enumerate(captures):
        groups.setdefault(same_problem(capture), []).append(index)
    found: dict[int, float] = {}
    for group in groups.values():
        choice, first = choose([captures[index] for index in group]), captures[group[0]]
        is_double = next(iter(first.parameters.values())).dtype == torch.float64
        precision = torch.float64 if is_double else torch.float32
        engine, names = open_engine([first], choice, device="cpu", precision=precision), matched(first)
        for index in group:
            engine.replace(0, captures[index])
            distance = _distance(engine, captures[index], examples[index], precision)
            norm = norm_of(captures[index], names)
            found[index] = distance / norm if norm > 0 else float(distance > 0)
    return [found[index] for index in range(len(captures))]


def _distance(engine: Engine, capture: CapturedUpdate, examples: Examples, precision: torch.dtype) -> float:
    """Return the distance of the update of examples to that of the victim with which the engine is loaded."""
    inputs, labels = examples
    targets = targets_of(capture.training, labels, capture.model.input.classes).to(precision)
    squared = engine.distances(inputs.to(precision)[None].requires_grad_(), targets[None]).detach()
    return float(squared[0].sqrt())
