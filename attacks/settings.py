"""What the attacks may be told, with the defaults of the published code. No torch here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from fl_sim.specs import Settings

UNTHRESHOLDED, POST, IN, STRAIGHT_THROUGH = "none", "post_optimisation", "in_optimisation", "straight_through"
"""The ways of thresholding by name, see `attacks.thresholding`."""


class InversionSettings(Settings):
    """What the settings of every gradient inversion can do."""

    def untouched(self) -> Self:
        """Return these settings with no step to take: the attack then answers with its initial guess."""
        raise NotImplementedError


class MatchingSettings(InversionSettings):
    """Settings of every attack that matches gradients with L-BFGS.

    Attributes:
        iterations: outer steps of L-BFGS (300 in the published code of DLG and iDLG).
        inner_iterations: iterations of one outer step (20, torch's default).
        history: pairs that L-BFGS remembers (100, torch's default).
        learning_rate: step length of L-BFGS (1, torch's default).
        tolerance_gradient: L-BFGS ends an outer step where max |g| is at most this (1e-7, torch's default).
        tolerance_change: L-BFGS ends an outer step where step, change of the loss or slope is at most this (1e-9,
            torch's default). It is absolute: where gradients are small, as under torch's initialisation, it ends
            attempts that still get somewhere.
        guess: the initial candidate: "normal" N(0, 1) as the published code, "uniform" U(0.45, 0.55) as
            arXiv 2511.21181 section IV-A, the same for all T steps, "spikes" |N(0, 0.1)| as its eq. 1 for events.
        restarts: how many new guesses a diverged or stalled victim gets; they are drawn from N(0, 1), of a guess of
            "spikes" from the same again. A victim that stalls with its loss below `loss_tolerance` times the
            attempt's first gets none: what is left is rounding, and 33 of 33 such on CIFAR-100 were solved.
        divergence: an attempt stops as diverged when the mean square of its candidate exceeds this; 0 never stops.
            The server sees its own candidate, so no truth is needed. On the sigmoid LeNet, 12 lost no success in 120
            measured runs.
        loss_tolerance: an attempt stops as converged when an outer step ends by L-BFGS's own tolerance on step or loss
            change and the matching loss is below this (1e-6 as iDLG, which tests the loss only), or below a hundredth
            of this times the attempt's first loss, which is what float32 resolves.
        step_tolerance: an attempt also stops as converged where its loss is below a hundredth of `loss_tolerance`
            times its first and the root mean square of the step is below this. 1e-4 is a fortieth of a grey level of
            eight bits; 95 measured victims ended a fifth sooner, none above a mean squared error of 1e-3, where a
            test of the loss alone let one go at 7e-3. The fall is asked for because gradients, and with them loss
            and first step, may be small from the start. 0 leaves it to L-BFGS's own tolerances.
        victims_per_batch: how many victims are attacked side by side at most.
        memory_mb: what a batch may take; fewer victims share a batch where they would take more.
        thresholding: how a real-valued candidate becomes spikes, see `attacks.thresholding`: "none",
            "post_optimisation", "in_optimisation" (both as arXiv 2511.21181, section III-B) or "straight_through".
        tau: the threshold; not read where thresholding is "none".
        precision: "float32", or "float64" to compare trajectories.
    """

    iterations: int = Field(default=300, ge=0)
    inner_iterations: int = Field(default=20, ge=1)
    history: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    tolerance_gradient: float = Field(default=1e-7, ge=0)
    tolerance_change: float = Field(default=1e-9, ge=0)
    guess: Literal["normal", "uniform", "spikes"] = "normal"
    restarts: int = Field(default=0, ge=0)
    divergence: float = Field(default=12.0, ge=0)
    loss_tolerance: float = Field(default=1e-6, ge=0)
    step_tolerance: float = Field(default=1e-4, ge=0)
    victims_per_batch: int = Field(default=64, ge=1)
    memory_mb: int = Field(default=4096, ge=16)
    thresholding: Literal["none", "post_optimisation", "in_optimisation", "straight_through"] = "none"
    tau: float = Field(default=0.5, ge=0)
    precision: Literal["float32", "float64"] = "float32"

    def untouched(self) -> Self:
        """Return these settings with no step to take: the attack then answers with its initial guess."""
        return self.model_copy(update={"iterations": 0})


class DLGSettings(MatchingSettings):
    """Settings of DLG. The label logits are drawn from N(0, 1) and optimised with the image."""


class IDLGSettings(MatchingSettings):
    """Settings of iDLG.

    Attributes:
        label_rule: which gradients of the last layer give the label away: "weights" (Zhao et al. 2020, which needs
            positive features before the last layer) or "bias" (holds for every network that has one).
    """

    label_rule: Literal["weights", "bias"] = "weights"


class GRNNSettings(InversionSettings):
    """Settings of GRNN, with the defaults of its published code.

    Attributes:
        steps: of RMSprop, all of which are taken (1000).
        learning_rate: of RMSprop (1e-4).
        momentum: of RMSprop's steps (0.99).
        alpha: how much of the mean squared gradient each step keeps (0.99, torch's default).
        tv_weight: weight of the total variation (1e-3 on a LeNet; the published code has 1e-6 for a ResNet-18).
        victims_per_batch: how many victims are attacked side by side at most.
        memory_mb: what a batch may take; fewer victims share a batch where they would take more.
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
        """Return these settings with no step to take: the attack then answers with what its generators start from."""
        return self.model_copy(update={"steps": 0})
