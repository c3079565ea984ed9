"""The attack's own loss at given examples: whether an attack on an update looks for the right thing."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.engines.choice import choose, open_engine
from fl_sim.losses import targets_of
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate


def mismatch(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> float:
    """Return how far the update of examples is from the captured one, relative to its norm: about 0 at the truth.

    Args:
        capture: the update.
        inputs: (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps.
        labels: (N,).

    Raises:
        ConfigError: no engine can evaluate the model, or facts about the client are missing.
    """
    precision = torch.float64 if next(iter(capture.parameters.values())).dtype == torch.float64 else torch.float32
    engine = open_engine([capture], choose([capture]), device="cpu", precision=precision)
    targets = targets_of(capture.training, labels, capture.model.input.classes).to(precision)
    candidate = inputs.to(precision)[None].requires_grad_()
    distance = float(engine.distances(candidate, targets[None]).detach()[0])
    size = sum(float(value.double().square().sum()) for value in observed_gradient(capture).values())
    return (distance / size) ** 0.5 if size > 0 else float(distance > 0)
