"""The interfaces of attacks: their inputs, their results, and how they end."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from fl_sim.records import LATER, CapturedUpdate, ModelSpec, Scalar, TrainedModel

Progress = Callable[[int, int], None]
"""Called with (victims finished, total victims); the victims of a model inversion are classes."""


class StopReason(enum.StrEnum):
    """How an attack ended.

    Converged: the matching loss is below its tolerance and no longer changes. Stalled: the loss no longer changes, but
    is above its tolerance. Diverged: the candidate grew without bound, or is not finite. Not attempted: the batch is
    too large, or the model has no closed form that the attack needs, and only labels were read.
    """

    CONVERGED = "converged"
    STALLED = "stalled"
    BUDGET = "budget spent"
    DIVERGED = "diverged"
    NOT_ATTEMPTED = "not attempted"


@dataclass(frozen=True)
class Auxiliary:
    """Examples that the adversary has besides what it observes (letter D), from other people than the victims.

    Attributes:
        name: of the data set, in reports.
        inputs: (n, C, H, W) in the range of the InputSpec, or (T, n, C, H, W) for events.
        labels: (n,).
    """

    name: str
    inputs: Tensor
    labels: Tensor


@runtime_checkable
class UsesAuxiliary(Protocol):
    """A gradient inversion that can use auxiliary data."""

    def informed(self, auxiliary: Auxiliary) -> GradientInversion:
        """Return the same attack with auxiliary data."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """The result of a gradient inversion for one captured update.

    Attributes:
        capture_id: id of the captured update.
        attack: name of the attack.
        settings: all settings of the attack as plain values.
        inputs: (N, C, H, W), the candidate with the smallest matching loss, or the last one where the setting `answer`
            asks for it, clamped to the input's range.
        labels: (N,), the labels that the attack found.
        matching_loss: loss of exactly this candidate before the clamp.
        last_inputs: (N, C, H, W), the last iterate.
        loss_history: (outer steps,), matching loss at the start of each outer step of the attempt that found the
            candidate.
        iterations: optimiser iterations over all restarts.
        gradient_evaluations: evaluations of loss and gradient over all restarts.
        restarts: number of initial guesses, at least 1.
        stop_reason: reason for the end of the attempt that found the candidate.
        seconds: wall time of the batch divided by its number of victims.
        seed: seed that the attack was given.
        engine: what evaluated the loss, see `attacks.engines.choice.Choice`; "" if the attack has none.
        snapshots: (S, N, C, H, W), or (S, T, N, C, H, W) for events: candidates of the attempt that led to the answer,
            from its first guess to its last iterate, each clamped as the answer is but not thresholded; None unless
            the setting `snapshots` asks for them and the attack searches.
        snapshot_steps: (S,), int64, ascending: after how many of the steps that `loss_history` counts each was the
            candidate (outer steps of L-BFGS, steps of the others).
        refused: {attack that this one is made of: why it does not take this victim}, as "frozen_delta" of an ensemble
            where the model cannot be folded; None where none refused.
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
    engine: str = ""
    snapshots: Tensor | None = field(default=None, metadata=LATER)
    snapshot_steps: Tensor | None = field(default=None, metadata=LATER)
    refused: Mapping[str, str] | None = field(default=None, metadata=LATER)


class GradientInversion(Protocol):
    """An attack that turns captured updates into inputs. A value: settings in the constructor."""

    def reconstruct(
        self, captures: Sequence[CapturedUpdate], *, seed: int, device: str = "cpu", progress: Progress | None = None
    ) -> list[Reconstruction]:
        """Return one reconstruction for each captured update, in the same order.

        Args:
            captures: captured updates of one model spec; each may have its own parameters.
            seed: seed of the initial guesses; each victim's guess depends only on the seed and its capture id.
            device: where to compute.
            progress: called whenever a victim is finished.
        """
        ...


@dataclass(frozen=True)
class Inversion:
    """The result of a model inversion for one trained model: one input for each class attacked.

    Attributes:
        model_id: `attacks.posterior.model_id` of the model, which identifies its spec and parameters.
        attack: name of the attack.
        settings: all settings of the attack as plain values.
        classes: (K,), the classes attacked.
        inputs: (K, C, H, W) for an ANN, or binary spikes (T, K, C, H, W) for a spiking model.
        probabilities: (T, K, C, H, W), the parameters of the Bernoulli distributions from which `inputs` are drawn;
            None if the attack has none.
        confidence: (K,), the model's posterior of each class for exactly these inputs; see `attacks.posterior`.
        iterations: (K,), iterations taken.
        stop_reasons: one for each of the K classes.
        seed: seed that the attack was given.
        seconds: wall time of all K classes.
        snapshots: (K, S, C, H, W), pictures of the search for each class, from its starting point to `inputs`, spikes
            as their mean over time; NaN after the last of a class. None unless the setting `snapshots` asks for them
            and the attack searches.
        snapshot_steps: (K, S), int64, ascending: after how many iterations each was taken; -1 after the last.
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
    snapshots: Tensor | None = field(default=None, metadata=LATER)
    snapshot_steps: Tensor | None = field(default=None, metadata=LATER)


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
            model: the model under attack.
            classes: K labels of the model.
            seed: seed of the attack's draws; those for a class depend only on the seed and the class.
            device: where to compute.
            progress: called whenever classes are finished.

        Raises:
            ConfigError: the model does not have one of the classes, `classes` is empty, or the attack is not made for
                this kind of model.
        """
        ...


@dataclass(frozen=True)
class Observed:
    """What the adversary of a membership inference has seen of a training.

    Attributes:
        id: name of the record, from which nothing follows about who is a member.
        model: specification of the model.
        parameters: {name: tensor} after the training, or after a client's steps.
        before: {name: tensor} before the steps, where an update was seen; {} where there is a trained model only.
    """

    id: str
    model: ModelSpec
    parameters: Mapping[str, Tensor]
    before: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """Examples of which the adversary wants to know whether they are members, in an order that says nothing.

    Attributes:
        inputs: (n, C, H, W) in the range of the InputSpec, or (T, n, C, H, W) for events.
        labels: (n,).
    """

    inputs: Tensor
    labels: Tensor

    @property
    def axis(self) -> int:
        """Return the axis of the examples in `inputs`."""
        return 1 if self.inputs.dim() == 5 else 0


@dataclass(frozen=True)
class Shadow:
    """A model that the adversary has trained by the recipe of the target.

    Attributes:
        parameters: {name: tensor}.
        seen: bool (n,), which of the candidates it was trained on.
        seen_auxiliary: bool (m,), which of the auxiliary examples it was trained on.
    """

    parameters: Mapping[str, Tensor]
    seen: Tensor
    seen_auxiliary: Tensor


@dataclass(frozen=True)
class Background:
    """What the adversary of a membership inference has besides: shadow models, and examples of other people."""

    shadows: Sequence[Shadow] = ()
    auxiliary: Auxiliary | None = None


@dataclass(frozen=True)
class MembershipScores:
    """The result of a membership inference.

    Attributes:
        observed_id: id of what was observed.
        attack: name of the attack.
        settings: all settings of the attack as plain values.
        scores: float64 (n,), one for each candidate in their order, higher for a likelier member.
        seed: seed that the attack was given.
        seconds: wall time.
    """

    observed_id: str
    attack: str
    settings: Mapping[str, Scalar]
    scores: Tensor
    seed: int
    seconds: float


class MembershipInference(Protocol):
    """An attack that tells members of a training from others. A value: settings in the constructor."""

    def score(
        self,
        observed: Observed,
        candidates: Candidates,
        background: Background,
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> MembershipScores:
        """Return one score for each candidate, in the same order.

        Args:
            observed: the model, or the update, under attack.
            candidates: whose membership is asked for.
            background: shadow models and auxiliary examples, as far as the entry of the attack asks for them.
            seed: seed of the attack's draws.
            device: where to compute.
            progress: called whenever candidates are finished.

        Raises:
            ConfigError: the attack lacks what it needs, or is not made for this kind of model.
        """
        ...
