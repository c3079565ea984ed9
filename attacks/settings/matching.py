"""Settings of the attacks that match gradients: DLG and iDLG by L-BFGS, GRNN by a generator."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from attacks.settings.base import SnapshotSettings

LAST = "last"
"""The answer that is the last iterate."""

SQUARE = "square"
"""The candidate that is the square of what is searched."""


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
        answer: "best", the candidate with the smallest matching loss over all restarts, or "last", the last iterate of
            the last attempt, as in the published code of DLG and iDLG. With thresholding "in_optimisation" the last
            iterate is the last binarised one (arXiv 2511.21181, Algorithm 2).
        positive: how candidates are kept from negative values: "none", not at all; "project" sets them to 0 after each
            outer step; "square" searches for the root of the candidate. arXiv 2511.21181 says in section III-B that
            spikes are "constrained to remain positive throughout", and in its Table III that they are not clamped. Of
            images, values below the low end of their range count as negative. With "project" L-BFGS keeps its state;
            with "square" it starts from the root of the guess without its signs. Not for texts.
        clamping: "end" clamps images once, when the search is over; "loop" also after each outer step. Images only,
            since arXiv 2511.21181, Table III, does not clamp events; it does not say where it clamps images.
    """

    LATER: ClassVar[tuple[str, ...]] = (*SnapshotSettings.LATER, "answer", "positive", "clamping")

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
    answer: Literal["best", "last"] = "best"
    positive: Literal["none", "project", "square"] = "none"
    clamping: Literal["end", "loop"] = "end"

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
        answer: "best", the image with the smallest squared distance of updates, or "last", that of the last step. The
            published code shows one of its last steps.
    """

    LATER: ClassVar[tuple[str, ...]] = (*SnapshotSettings.LATER, "answer")

    steps: int = Field(default=1000, ge=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    alpha: float = Field(default=0.99, ge=0, lt=1)
    tv_weight: float = Field(default=1e-3, ge=0)
    victims_per_batch: int = Field(default=32, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    precision: Literal["float32", "float64"] = "float32"
    answer: Literal["best", "last"] = "best"

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns the output of its initial generators."""
        return self.model_copy(update={"steps": 0, "snapshots": 0})
