"""What an attack promises: what it reads, what it returns, how it may end."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fl_sim.records import CapturedUpdate, Scalar, TrainedModel

Progress = Callable[[int, int], None]
"""Called with (victims finished, victims in all); the victims of a model inversion are classes."""


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


@dataclass(frozen=True)
class Inversion:
    """What a model inversion made of one trained model: one input for each class attacked.

    Attributes:
        model_id: `attacks.posterior.model_id` of the model, which tells its spec and parameters apart from others.
        attack: its name.
        settings: all its settings, plain values.
        classes: (K,), the classes attacked.
        inputs: (K, C, H, W) of an ANN, or binary spikes (T, K, C, H, W) of a spiking model.
        probabilities: (T, K, C, H, W), the parameters of the Bernoulli distributions that `inputs` are a draw of; None
            where the attack has none.
        confidence: (K,), the model's posterior of each class for exactly these inputs, see `attacks.posterior`.
        iterations: (K,), iterations taken.
        stop_reasons: K of them.
        seed: root seed of the attack.
        seconds: wall time of all K classes.
    """

    model_id: str
    attack: str
    settings: Mapping[str, Scalar]
    classes: Tensor
    inputs: Tensor
    probabilities: Tensor | None
    confidence: Tensor
    iterations: Tensor
    stop_reasons: tuple[StopReason, ...]
    seed: int
    seconds: float


class ModelInversion(Protocol):
    """An attack that turns a trained model into inputs of its classes. A value: settings in the constructor."""

    def invert(
        self,
        model: TrainedModel,
        classes: Sequence[int],
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> Inversion:
        """Return an input for each class, in the same order.

        Args:
            model: under attack.
            classes: K labels of the model.
            seed: of what the attack draws; what is drawn for a class depends on the seed and the class only.
            device: where to compute.
            progress: called whenever classes are finished.

        Raises:
            ConfigError: a class that the model does not have, no class at all, or a model that the attack is not for.
        """
        ...
