"""Settings of the attacks that read, regress or combine."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from attacks.settings.base import AuxiliarySettings, InversionSettings, SnapshotSettings


class ExactSettings(InversionSettings):
    """Settings of the attack that reads what an update tells for certain.

    Attributes:
        closed_form: whether inputs are computed where there is a closed form; otherwise, all answers are grey.
        memory_mb: memory limit of an answer.
    """

    closed_form: bool = True
    memory_mb: int = Field(default=4096, ge=16)

    def untouched(self) -> Self:
        """Return these settings without the closed form, so that the attack returns grey inputs."""
        return self.model_copy(update={"closed_form": False})


class FeatureKalmanSettings(AuxiliarySettings):
    """Settings of the ensemble Kalman inversion of features, with the schedule that was found on other victims.

    Attributes:
        prior: where candidates come from: "strokes", procedural pen strokes; "auxiliary", pictures of the auxiliary
            data of the experiment, which makes the adversary one with letter D; "auto", the latter if there are any.
        prior_count: number of pictures from the prior.
        rounds: number of local regressions.
        draws: candidates drawn in each round about the current one.
        spread_decay: factor of their spread from round to round; "auto": 0.82, or 0.85 with strokes.
        denoising: weight of the total variation of the answer, as in Chambolle's algorithm.
        dark_background: margin of a prior of black backgrounds and white strokes; see `DescentSettings`.
    """

    prior: Literal["auto", "strokes", "auxiliary"] = "auto"
    prior_count: int = Field(default=4000, ge=16)
    rounds: int = Field(default=10, ge=0)
    draws: int = Field(default=600, ge=16)
    spread_decay: float | Literal["auto"] = "auto"
    denoising: float = Field(default=0.03, ge=0)
    dark_background: float = Field(default=0.0, ge=0, lt=0.5)

    def untouched(self) -> Self:
        """Return these settings with no rounds, so that the attack returns the mean of its prior."""
        return self.model_copy(update={"rounds": 0, "dark_background": 0.0, "denoising": 0.0})


class EnsembleSettings(AuxiliarySettings, SnapshotSettings):
    """Settings of the ensemble.

    Attributes:
        adversary: the letter of the strongest adversary whose attacks are tried: "A", the update only; "B", with priors
            of inputs; "D", with auxiliary data. "auto" is "D" if there are auxiliary data, else "B".
        effort: budgets of the attacks, in evaluations, so that answers do not depend on the machine: "quick",
            "standard", "thorough" with the published budgets, or "none", which tries nothing.
        dark_background: margin of a prior of black backgrounds; see `DescentSettings`.
        most_examples: largest number of examples behind an update for which inputs are searched.
    """

    LATER: ClassVar[tuple[str, ...]] = ("snapshots", "most_examples")

    adversary: Literal["auto", "A", "B", "D"] = "auto"
    effort: Literal["none", "quick", "standard", "thorough"] = "quick"
    dark_background: float = Field(default=0.0, ge=0, lt=0.5)
    most_examples: int = Field(default=64, ge=1)

    @property
    def uses_auxiliary(self) -> bool:
        """Return whether the attack is given auxiliary data: not to an adversary who has none."""
        return super().uses_auxiliary and self.adversary in ("auto", "D")

    def untouched(self) -> Self:
        """Return these settings without any attack, so that the answers are grey images or empty recordings."""
        return self.model_copy(update={"effort": "none", "snapshots": 0})


class LearnedSettings(AuxiliarySettings):
    """Settings of the regression from gradients to inputs that is learned on auxiliary data.

    Attributes:
        regressor: "kernel", kernel ridge regression; "ridge", linear; "mlp", a network of one hidden layer; "mean", the
            mean of the auxiliary inputs, which ignores the update.
        layers: the layers whose gradients are used, as for frozen-delta matching, with weights as factors. The features
            of the last layer stand for its gradient.
        most_coordinates: gradients of more numbers are projected to this many at random; 0 for no projection.
        hidden: hidden units of the network.
        epochs: passes of the network over the auxiliary data, of which the best by a held-out tenth counts.
        memory_mb: memory limit of the auxiliary examples whose gradients are computed at once.
    """

    regressor: Literal["kernel", "ridge", "mlp", "mean"] = "kernel"
    layers: str = "auto"
    most_coordinates: int = Field(default=4096, ge=0)
    hidden: int = Field(default=512, ge=1)
    epochs: int = Field(default=30, ge=1)
    memory_mb: int = Field(default=2048, ge=16)

    def untouched(self) -> Self:
        """Return these settings with no regression, so that the attack returns the mean of the auxiliary inputs."""
        return self.model_copy(update={"regressor": "mean"})
