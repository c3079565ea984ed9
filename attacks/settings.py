"""Settings of the gradient inversions, with the defaults of the published code. Nothing here imports torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from fl_sim.specs import Settings

UNTHRESHOLDED, POST, IN, STRAIGHT_THROUGH = "none", "post_optimisation", "in_optimisation", "straight_through"
"""Names of the kinds of thresholding; see `attacks.thresholding`."""

NO_AUXILIARY, PUBLIC, OWN = "none", "public", "own"
"""Names in place of a data set: no auxiliary data, the public pictures of an audit, and the clients' own data set."""


class InversionSettings(Settings):
    """Base of the settings of every gradient inversion."""

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns its initial guess."""
        raise NotImplementedError


class AuxiliarySettings(InversionSettings):
    """Settings of every attack that can use examples of other people than the victims, see `attacks.contracts`.

    Attributes:
        auxiliary: the data set from which the adversary has examples of other people than the victims, "own" for the
            split of the clients' data set that they do not hold, "public" for the public pictures of an audit, or
            "none". With such examples the adversary has letter D.
        auxiliary_split: the split of that data set, which must not be the one that the victims' clients hold; of "own",
            it is always the other one.
        auxiliary_count: number of examples, drawn at random.
    """

    auxiliary: str = NO_AUXILIARY
    auxiliary_split: Literal["train", "test"] = "train"
    auxiliary_count: int = Field(default=4000, ge=2)

    @property
    def uses_auxiliary(self) -> bool:
        """Return whether the attack is given auxiliary data."""
        return self.auxiliary != NO_AUXILIARY


class SnapshotSettings(InversionSettings):
    """Settings of every attack that searches step by step and can keep pictures of its way.

    Attributes:
        snapshots: number of pictures that an answer keeps of the search that found it, 0 for none: the first guess, the
            last iterate, and others evenly spread over the steps between, as far as there are so many. The search is
            the same with and without them.
    """

    snapshots: int = Field(default=0, ge=0, le=1000)

    @field_validator("snapshots")
    @classmethod
    def _first_and_last(cls, snapshots: int) -> int:
        if snapshots == 1:
            raise ValueError("expected 0, or at least 2: the first guess and the last iterate; got 1")
        return snapshots

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out that there are none: what is stored and hashed is then what it was before there could be any."""
        found: dict[str, Any] = plain(self)
        return {key: value for key, value in found.items() if key != "snapshots" or value}


class MatchingSettings(SnapshotSettings):
    """Settings of every attack that matches gradients with L-BFGS.

    Attributes:
        iterations: outer steps of L-BFGS (300 in the published code of DLG and iDLG). For a text, the steps from text
            to text that follow (`attacks.matching.words`) may take as many evaluations as these steps have iterations.
        inner_iterations: iterations of one outer step (20, torch's default).
        history: number of pairs in the history of L-BFGS (100, torch's default).
        learning_rate: step length of L-BFGS (1, torch's default).
        line_search: "none" takes every step, as in the published code; "armijo" halves a step until the loss decreases.
            "auto" is "none" where the update is the gradient of one batch and the model can be folded over victims, and
            "armijo" elsewhere, where steps of full length hardly ever lead anywhere.
        weighting: "none" sums the squared differences of all tensors, as in the published code. "auto" does so for the
            update of one batch; for one of several local steps it divides the squared difference of each tensor by the
            tensor's norm, since the plain sum is ruled by the last layer, in which the images of the steps are alike.
        range_weight: weight of the squared distance of the candidate from its nearest image in range, in units of the
            range, which is added to the matching loss; 0 as in the published code. It is 0 at the truth, so that a
            match stays a match. Of clients of several local steps without momentum it found more images, and 0.001 to
            0.1 did equally well. Images only.
        tolerance_gradient: L-BFGS ends an outer step when max |g| is at most this (1e-7, torch's default).
        tolerance_change: L-BFGS ends an outer step when the step, the change of the loss or the slope is at most this
            (1e-9, torch's default). It is absolute: if gradients are small, as under torch's initialisation, it ends
            attempts that still make progress.
        guess: the initial candidate: "normal", N(0, 1) as in the published code; "uniform", U(0.45, 0.55) as in
            arXiv 2511.21181, section IV-A, the same for all T steps; "spikes", |N(0, 0.1)| as in its eq. 1 for events.
        restarts: number of new guesses for a diverged or stalled victim. They are drawn from N(0, 1), or again from
            the same distribution if `guess` is "spikes". A victim that stalls with its loss below `loss_tolerance`
            times the attempt's first loss is not restarted: only rounding is left, and all 33 such victims on CIFAR-100
            were solved.
        divergence: an attempt stops as diverged when the mean square of its candidate exceeds this; 0 for no limit.
            Texts, whose candidates are logits, have none.
            The server sees its own candidate, so this needs no truth. On the sigmoid LeNet, 12 lost no success in 120
            measured runs.
        loss_tolerance: an attempt stops as converged when an outer step ends by L-BFGS's own tolerance on step or loss
            change and the matching loss is below this (1e-6 as in iDLG, which tests only the loss), or below a
            hundredth of this times the attempt's first loss, which is the resolution of float32.
        step_tolerance: an attempt also stops as converged when its loss is below a hundredth of `loss_tolerance` times
            its first loss and the root mean square of the step is below this. 1e-4 is a fortieth of an 8-bit grey
            level; 95 measured victims ended a fifth sooner, none with a mean squared error above 1e-3, whereas with a
            test of the loss alone, one ended at 7e-3. The loss must have fallen because gradients, and with them loss
            and first step, may be small from the start. 0 leaves the decision to L-BFGS's own tolerances.
        most_examples: largest number of examples behind an update for which inputs are searched. Of a larger batch the
            answer holds the labels, as far as the attack reads them off the update, and grey inputs.
        victims_per_batch: maximum number of victims attacked in parallel.
        memory_mb: memory limit of a batch; the number of its victims is reduced accordingly.
        thresholding: how a real-valued candidate becomes spikes; see `attacks.thresholding`: "none",
            "post_optimisation", "in_optimisation" (both as in arXiv 2511.21181, section III-B) or "straight_through".
        tau: the threshold; ignored if thresholding is "none".
        precision: "float32", or "float64" to compare trajectories.
    """

    iterations: int = Field(default=300, ge=0)
    inner_iterations: int = Field(default=20, ge=1)
    history: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    line_search: Literal["auto", "none", "armijo"] = "auto"
    weighting: Literal["auto", "none"] = "auto"
    range_weight: float = Field(default=0.0, ge=0)
    tolerance_gradient: float = Field(default=1e-7, ge=0)
    tolerance_change: float = Field(default=1e-9, ge=0)
    guess: Literal["normal", "uniform", "spikes"] = "normal"
    restarts: int = Field(default=0, ge=0)
    divergence: float = Field(default=12.0, ge=0)
    loss_tolerance: float = Field(default=1e-6, ge=0)
    step_tolerance: float = Field(default=1e-4, ge=0)
    most_examples: int = Field(default=64, ge=1)
    victims_per_batch: int = Field(default=64, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    thresholding: Literal["none", "post_optimisation", "in_optimisation", "straight_through"] = "none"
    tau: float = Field(default=0.5, ge=0)
    precision: Literal["float32", "float64"] = "float32"

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns its initial guess."""
        return self.model_copy(update={"iterations": 0, "snapshots": 0})


class DLGSettings(MatchingSettings):
    """Settings of DLG. The label logits are drawn from N(0, 1) and optimised with the image."""


class IDLGSettings(MatchingSettings):
    """Settings of iDLG.

    Attributes:
        label_rule: how labels are read off the gradient of the last layer: "weights" (Zhao et al. 2020, which needs
            positive features before the last layer), "bias" (works for every network whose last layer has one), both
            of which assume that no class occurs twice; "counts" (how often each class occurs; needs a bias, or
            features that are almost constant); "auto" is "weights" for one example ("bias" for one text, if there is
            one) and "counts" for more.
    """

    label_rule: Literal["auto", "weights", "bias", "counts"] = "auto"


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


class GRNNSettings(SnapshotSettings):
    """Settings of GRNN, with the defaults of its published code.

    Attributes:
        steps: number of RMSprop steps (1000).
        learning_rate: of RMSprop (1e-4).
        momentum: of RMSprop (0.99).
        alpha: smoothing constant of RMSprop's mean squared gradient (0.99, torch's default).
        tv_weight: weight of the total variation (1e-3 on a LeNet; the published code has 1e-6 for a ResNet-18).
        victims_per_batch: maximum number of victims attacked in parallel.
        memory_mb: memory limit of a batch; the number of its victims is reduced accordingly.
        precision: "float32", or "float64" to compare trajectories.
    """

    steps: int = Field(default=1000, ge=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    alpha: float = Field(default=0.99, ge=0, lt=1)
    tv_weight: float = Field(default=1e-3, ge=0)
    victims_per_batch: int = Field(default=32, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    precision: Literal["float32", "float64"] = "float32"

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns the output of its initial generators."""
        return self.model_copy(update={"steps": 0, "snapshots": 0})


class DescentSettings(SnapshotSettings):
    """Settings of every attack that descends along the signs of first-order slopes, inside the range of the inputs.

    Attributes:
        steps: number of steps of Adam.
        learning_rate: of the first step, in units of the range of the inputs.
        tv_weight: weight of the total variation, the sum of the mean absolute differences of neighbours.
        start: the initial candidate: "black", "grey", or "normal", N(0.5, 0.25) clamped to the range.
        restarts: number of further initial candidates, drawn as "normal"; the answer has the smallest loss of all.
        dark_background: margin of a prior of black backgrounds and white strokes: the answer x becomes
            (x - margin) / (1 - 2 margin), clamped to the range. 0 for no such prior.
        most_examples: largest number of examples behind an update for which inputs are searched.
        victims_per_batch: maximum number of victims attacked in parallel.
        memory_mb: memory limit of a batch; the number of its victims is reduced accordingly.
        precision: "float32" or "float64".
    """

    steps: int = Field(default=300, ge=0)
    learning_rate: float = Field(default=0.05, gt=0)
    tv_weight: float | Literal["auto"] = "auto"
    start: Literal["auto", "black", "grey", "normal"] = "auto"
    restarts: int = Field(default=0, ge=0)
    dark_background: float = Field(default=0.0, ge=0, lt=0.5)
    most_examples: int = Field(default=64, ge=1)
    victims_per_batch: int = Field(default=32, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    precision: Literal["float32", "float64"] = "float32"

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns its initial candidate."""
        return self.model_copy(update={"steps": 0, "restarts": 0, "dark_background": 0.0, "snapshots": 0})


class InvertingGradientsSettings(DescentSettings):
    """Settings of Inverting Gradients (Geiping et al. 2020).

    Attributes:
        steps: number of steps (1,000; the published code has 4,800 to 24,000).
        learning_rate: of the first step (0.1, as published), divided by ten after 3/8, 5/8 and 7/8 of the steps.
        tv_weight: "auto" is 10 if it is relative, and 0.1, as in the published code, if it is absolute.
        tv_scale: "relative" multiplies the weight by the current matching loss; "absolute", as published, does not.
        start: "auto" is "normal", as in the published code.
        cosine: "whole" compares whole updates, as published; "layers" takes the mean over the tensors.
    """

    steps: int = Field(default=1000, ge=0)
    learning_rate: float = Field(default=0.1, gt=0)
    tv_scale: Literal["relative", "absolute"] = "relative"
    cosine: Literal["whole", "layers"] = "whole"


class FrozenDeltaSettings(DescentSettings):
    """Settings of frozen-delta matching.

    Attributes:
        tv_weight, start, measure, blur: "auto" depends on the inputs: 0.1, "black", "cosine" and 0.7 for grey images;
            0.8, "grey", "relative" and 0 for colour, since the cosine does not tell the contrast; 2, "black", "cosine"
            and 0 for events.
        measure: of a layer's distance: "cosine", or "relative", the squared difference relative to the captured square.
        layers: the layers whose gradients are matched: "early", the first (weight 0.3) and the second (1) that have
            weights; "late", all but the first, with the last layer's features; or names of weights with factors, such
            as "body.2.weight=1 body.0.weight=0.3". "auto" is "early" if the last hidden layer is all but silent
            for this example, or nothing is known of it, else "late".
        blur: standard deviation, in pixels, of a Gaussian blur of the slopes, which falls to 0.4 at the last step; 0
            for none.
    """

    measure: Literal["auto", "cosine", "relative"] = "auto"
    layers: str = "auto"
    blur: float | Literal["auto"] = "auto"


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
    """

    adversary: Literal["auto", "A", "B", "D"] = "auto"
    effort: Literal["none", "quick", "standard", "thorough"] = "quick"
    dark_background: float = Field(default=0.0, ge=0, lt=0.5)

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
