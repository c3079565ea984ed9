"""The attack's own loss at given examples: whether an attack on an update looks for the right thing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.engines.choice import choose, open_engine
from fl_sim.losses import targets_of
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate

Examples = tuple[Tensor, Tensor]
"""Inputs (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps, and labels (N,)."""


def mismatch(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> float:
    """Return how far the update of examples is from the captured one; see `mismatches`."""
    return mismatches([capture], [(inputs, labels)])[0]


def mismatches(captures: Sequence[CapturedUpdate], examples: Sequence[Examples]) -> list[float]:
    """Return how far the updates of examples are from the captured ones, relative to their norm: about 0 at the truth.

    Args:
        captures: updates of one model spec, training and number of examples.
        examples: of each capture.

    Raises:
        ConfigError: no engine can evaluate the model, or facts about the client are missing.
    """
    is_double = next(iter(captures[0].parameters.values())).dtype == torch.float64
    precision = torch.float64 if is_double else torch.float32
    engine = open_engine(captures[:1], choose(captures), device="cpu", precision=precision)
    found = []
    for capture, (inputs, labels) in zip(captures, examples, strict=True):
        engine.replace(0, capture)
        targets = targets_of(capture.training, labels, capture.model.input.classes).to(precision)
        distance = engine.distances(inputs.to(precision)[None].requires_grad_(), targets[None])
        size = sum(float(value.double().square().sum()) for value in observed_gradient(capture).values())
        ratio = float(distance.detach()[0]) / size if size > 0 else float(distance.detach()[0] > 0)
        found.append(ratio**0.5)
    return found
