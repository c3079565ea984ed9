"""What an attack promises: what it reads, what it returns, how it may end."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fl_sim.records import CapturedUpdate, Scalar

Progress = Callable[[int, int], None]
"""Called with (victims finished, victims in all)."""


class StopReason(enum.StrEnum):
    """How an attack ended.

    Converged: the matching loss is below its tolerance and no longer moves. Stalled: it no longer moves, but it is not
    below. Diverged: the candidate ran away, or is no number.
    """

    CONVERGED = "converged"
    STALLED = "stalled"
    BUDGET = "budget spent"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Reconstruction:
    """What a gradient inversion made of one captured update.

    Attributes:
        capture_id: of the captured update.
        attack: its name.
        settings: all its settings, plain values.
        inputs: (N, C, H, W), the candidate with the smallest matching loss, clamped once to the input's range.
        labels: (N,), as the attack believes.
        matching_loss: of exactly this candidate before the clamp.
        last_inputs: (N, C, H, W), the last iterate, for comparison only.
        loss_history: (outer steps,), matching loss at the start of each outer step of the best attempt.
        iterations: optimiser iterations, over all restarts.
        gradient_evaluations: evaluations of loss and gradient, over all restarts.
        restarts: number of guesses started, 1 or more.
        stop_reason: of the attempt that the candidate comes from; a diverged attack is a failure whatever it holds.
        seconds: wall time of the batch divided by its victims.
        seed: root seed of the attack.
    """

    capture_id: str
    attack: str
    settings: Mapping[str, Scalar]
    inputs: Tensor
    labels: Tensor
    matching_loss: float
    last_inputs: Tensor
    loss_history: Tensor
    iterations: int
    gradient_evaluations: int
    restarts: int
    stop_reason: StopReason
    seconds: float
    seed: int


class GradientInversion(Protocol):
    """An attack that turns captured updates into inputs. A value: settings in the constructor."""

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: of one model spec; each may have its own parameters.
            seed: of the initial guesses; each victim's guess depends on the seed and its capture id only.
            device: where to compute.
            progress: called whenever a victim is finished.
        """
        ...
