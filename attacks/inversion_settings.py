"""What the model inversions may be told, and the constants of their authors by data set. No torch here.

Attacks on trained models differ from data set to data set in the published code, often in form and not only in number.
A preset is such a set of constants; every other setting that is given overrides it.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from fl_sim.errors import unknown_name
from fl_sim.specs import Presets, PresetSettings


class ModelInversionSettings(PresetSettings):
    """Settings of every model inversion.

    Attributes:
        preset: name of the authors' constants for a data set, in `PRESETS` of the class.
        iterations: how many are taken at most (MI-Face), or exactly.
        precision: "float32", as the authors, or "float64" to compare trajectories.
    """

    preset: str = "mnist"
    iterations: int = Field(default=10, ge=0)
    precision: Literal["float32", "float64"] = "float32"

    @classmethod
    def _unknown_preset(cls, name: str) -> str:
        return str(unknown_name("preset", name, cls.PRESETS))

    def untouched(self) -> Self:
        """Return these settings with no iteration to take: the attack then answers with what it starts from."""
        return self.model_copy(update={"iterations": 0})


class MIFaceSettings(ModelInversionSettings):
    """Settings of MI-Face. Preset "mnist" is the published code's for MNIST, "att_faces" its for
    the AT&T faces.

    Attributes:
        learning_rate: length of a step (0.1).
        patience: an attack stops as stalled after so many iterations in a row whose cost was no smaller than that of
            the iteration before (100).
        tolerance: an attack stops as converged where the cost, 1 - posterior, is at most this (0.01).
        steps: "projected" clamps to the input's range after each step; "accumulating" never clamps and steps along
            the sum of all gradients so far, which is undamped momentum. The authors do the first on MNIST; on faces
            they do the second, by never clearing a gradient, and only that one comes to an end there in reasonable
            time.
    """

    PRESETS: ClassVar[Presets] = {"mnist": {}, "att_faces": {"steps": "accumulating"}}
    iterations: int = Field(default=5000, ge=0)
    learning_rate: float = Field(default=0.1, gt=0)
    patience: int = Field(default=100, ge=1)
    tolerance: float = Field(default=0.01, ge=0)
    steps: Literal["projected", "accumulating"] = "projected"


class BrainLeaksSettings(ModelInversionSettings):
    """Settings of both versions of BrainLeaks.

    Attributes:
        timesteps: T of the spikes made; 0 for the model's own (25 on MNIST; the authors attack with 100 on event data).
        samples_per_pass: how many spike trains go through the model side by side at most, to bound the memory.
            Version 2 takes whole classes side by side; only where the samples of one are more than this many are they
            split too.
    """

    timesteps: int = Field(default=0, ge=0)
    samples_per_pass: int = Field(default=128, ge=1)


class BrainLeaksV1Settings(BrainLeaksSettings):
    """Settings of BrainLeaks-v1.

    Presets "mnist", "nmnist" and "dvs_gesture" are the published code's. Its part for faces was never published, so
    "att_faces" is an own choice, the constants of MNIST. "paper" is section 3.2 of the paper; it states neither eta nor
    the number of iterations, so these are an own choice too.

    Attributes:
        iterations: all of which are taken (10; 25 on DVS Gesture).
        mask: which gradients count: "bernoulli" draws with |g| min-max scaled as the probability, as the code does;
            "threshold" takes those of |g| / max |g| >= eta, as the paper says.
        eta: the threshold of `mask` "threshold"; not read otherwise.
        objective: what is maximised, the time mean of the softmax of the output "membrane" potentials or of the output
            "spikes". The code takes the spikes on DVS Gesture; the paper does not say.
    """

    PRESETS: ClassVar[Presets] = {
        "mnist": {},
        "nmnist": {},
        "dvs_gesture": {"iterations": 25, "objective": "spikes"},
        "att_faces": {},
        "paper": {"mask": "threshold"},
    }
    mask: Literal["bernoulli", "threshold"] = "bernoulli"
    eta: float = Field(default=0.5, gt=0, le=1)
    objective: Literal["membrane", "spikes"] = "membrane"


class BrainLeaksV2Settings(BrainLeaksSettings):
    """Settings of BrainLeaks-v2.

    Presets "mnist", "nmnist" and "dvs_gesture" are the published code's. Its part for faces was never published, so
    "att_faces" is an own choice, the constants of MNIST. "paper" is Algorithm 1 of the paper with the constants of
    MNIST, for the paper states none.

    Attributes:
        iterations: all of which are taken (10).
        population: K, samples drawn for each class and iteration.
        learning_rate: numerator of the rate, lr / (sqrt(r) + epsilon). It is constant, as in the code; Algorithm 1 read
            to the letter divides the last rate again in each iteration.
        momentum: how much of the velocity each iteration keeps; the gradient is added unscaled.
        rho: of the accumulator r of squared gradients.
        epsilon: added to sqrt(r).
        xi: weight of the share of voxels that spike (eq. 5). Eq. 5 is a mean over voxels: scale xi with their number.
        weights: of the samples' gradients: "proportional", L_i / sum L, which favours bad samples, as the code has it,
            or "exponential", e^-L_i / sum e^-L (eq. 4).
        accumulator: "moving_average", r <- rho r + (1 - rho) g^2, as Algorithm 1 and the code for event data; or
            "growing", r <- r + rho r + (1 - rho) g^2, as the code for MNIST.
        loss: "probability", 1 - posterior, as Algorithm 1 and the code for MNIST; or "log_probability", minus the time
            mean of the log-softmax, as the code for event data.
        clamp: "two_stage" sets negatives to 0 and divides by the largest where it exceeds 1, as section 3.3 and the
            code; "hard" clamps to [0, 1], as Algorithm 1.
    """

    PRESETS: ClassVar[Presets] = {
        "mnist": {},
        "nmnist": {
            "population": 5, "learning_rate": 1e-3, "rho": 0.3, "epsilon": 1e-12, "xi": 0.3,
            "accumulator": "moving_average", "loss": "log_probability",
        },
        "dvs_gesture": {
            "population": 5, "learning_rate": 0.1, "rho": 0.2, "epsilon": 1e-12, "xi": 0.1,
            "accumulator": "moving_average", "loss": "log_probability",
        },
        "att_faces": {},
        "paper": {"weights": "exponential", "accumulator": "moving_average", "clamp": "hard"},
    }  # fmt: skip
    population: int = Field(default=7, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    rho: float = Field(default=0.1, ge=0, lt=1)
    epsilon: float = Field(default=1e-10, gt=0)
    xi: float = Field(default=0.01, ge=0)
    weights: Literal["proportional", "exponential"] = "proportional"
    accumulator: Literal["moving_average", "growing"] = "growing"
    loss: Literal["probability", "log_probability"] = "probability"
    clamp: Literal["two_stage", "hard"] = "two_stage"
