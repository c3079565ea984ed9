"""Answers to victims whose inputs are not looked for: grey inputs, and those labels that can be read."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from attacks.contracts import Reconstruction, StopReason
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import one_hot, tokens_of


class Limited(Protocol):
    """Settings of an attack that limit the memory of an answer."""

    @property
    def memory_mb(self) -> int:
        """Return the limit in MB."""
        ...

    def model_dump(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        ...


def grey_inputs(capture: CapturedUpdate) -> Tensor:
    """Return inputs that know nothing, in the middle of their range: (N, C, H, W), or empty (T, N, C, H, W) for events.

    Of texts, which are one-hot, each token is the first of the vocabulary.
    """
    spec, count = capture.model.input, batch_size(capture)
    shape = (spec.timesteps,) * bool(spec.timesteps) + (count, *spec.frame)
    grey = torch.full(shape, 0.0 if spec.timesteps else (spec.low + spec.high) / 2)
    return one_hot(tokens_of(grey), spec) if spec.vocabulary else grey


def check_memory(capture: CapturedUpdate, memory_mb: int) -> None:
    """Raise a ConfigError if not even an answer to an update fits into the memory limit of an attack."""
    spec, count = capture.model.input, batch_size(capture)
    needed = 4 * max(1, spec.timesteps) * count * math.prod(spec.frame) / 2**20
    if needed > memory_mb:
        raise ConfigError(
            f"attack.memory_mb: expected at least {needed:,.0f} for the answer to {capture.id}, which tells of "
            f"{count:,} examples; found {memory_mb:,}."
        )


def not_attempted(
    attack: str, settings: Limited, capture: CapturedUpdate, labels: Tensor | None, *, seed: int
) -> Reconstruction:
    """Return the answer to an update of too many examples: labels (N,) that were read, -1 for none, and grey inputs.

    Raises:
        ConfigError: the answer does not fit into `settings.memory_mb`.
    """
    check_memory(capture, settings.memory_mb)
    grey = grey_inputs(capture)
    return Reconstruction(
        capture_id=capture.id,
        attack=attack,
        settings=settings.model_dump(),
        inputs=grey,
        labels=torch.full((batch_size(capture),), -1) if labels is None else labels.cpu(),
        matching_loss=math.inf,
        last_inputs=grey.clone(),
        loss_history=torch.empty(0),
        iterations=0,
        gradient_evaluations=0,
        restarts=1,
        stop_reason=StopReason.NOT_ATTEMPTED,
        seconds=0.0,
        seed=seed,
    )
