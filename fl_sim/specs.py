"""The nouns that describe inputs and models. No torch here, so that a config is checked before torch is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from fl_sim.errors import nearest

Scalar = str | int | float | bool

MOST_STEPS = 1000
"""Steps in time, of a recording or of a network. A record may tell of any number; what is read is as long as that."""

# Surrogates that SpikingJelly offers but gradient matching cannot use, and why.
REFUSED_SURROGATES = {
    "rect": "its derivative is piecewise constant, so it has no second derivative",
    "leaky_k_relu": "its derivative is piecewise constant, so it has no second derivative",
    "deterministic_pass": "its derivative is constant, so it has no second derivative",
    "squarewave_fourier": "its second derivative explodes",
}


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What one input of a model looks like.

    Attributes:
        channels, height, width: size of one frame.
        classes: number of labels.
        low, high: the value range of the inputs; every metric states it.
        timesteps: number of time bins of an event recording; 0 for a still image.
    """

    channels: int
    height: int
    width: int
    classes: int
    low: float = 0.0
    high: float = 1.0
    timesteps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0

    @property
    def frame(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return self.channels, self.height, self.width


class Settings(pydantic.BaseModel):
    """Base of all settings: frozen, strict types, no unknown keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Framing(Settings):
    """How a recording of events becomes T frames. Read by event data sets only.

    Attributes:
        time_bins: T, frames of one example, of equal duration; 0 for the data set's own default.
        window_ms: length of the windows that a recording is cut into, each an example; 0 for whole recordings. A rest
            shorter than a window is left out. All windows of a recording are on the same side of a split.
        polarity: "both" (two channels: off, on), "merged" (one channel), "on" or "off" (one channel, the other
            polarity's events left out).
        voxels: "binary" (1 where at least one event fell) or "counts".
        bin_ms: duration of one frame; 0 for frames that divide the recording, or the window, equally. With it,
            time_bins frames are taken from the start of the recording: a longer one is cut off after them, a shorter
            one is followed by empty frames, and a frame that it fills in part only is left empty too, as tonic's
            ToFrame drops it. Needs time_bins, and no window_ms.
        denoise_ms: an event is kept only if one of the four pixels beside its own had its last event less than this
            before, whatever their polarity; 0 for all events. The rule of tonic's Denoise. A recording then starts at
            the first event that is kept and ends after the last.
        classes: only recordings of the first so many classes are examples; 0 for those of all classes.
    """

    time_bins: int = Field(default=0, ge=0, le=MOST_STEPS)
    window_ms: float = Field(default=0.0, ge=0)
    polarity: Literal["both", "merged", "on", "off"] = "both"
    voxels: Literal["binary", "counts"] = "binary"
    bin_ms: float = Field(default=0.0, ge=0, le=1e9)
    denoise_ms: float = Field(default=0.0, ge=0, le=1e9)
    classes: int = Field(default=0, ge=0)

    @pydantic.field_validator("bin_ms", "denoise_ms")
    @classmethod
    def _not_rounded_to_none(cls, duration: float) -> float:
        if 0 < duration < 0.001:
            raise ValueError(f"expected 0, or at least the 0.001 ms that times are told in, got {duration:g}")
        return duration

    # Of the one field, not of the whole: only so is it reported with the key's whole path.
    @pydantic.field_validator("bin_ms")
    @classmethod
    def _has_a_number_and_no_windows(cls, bin_ms: float, others: pydantic.ValidationInfo) -> float:
        if bin_ms and others.data.get("time_bins") == 0:
            raise ValueError(
                f"frames of {bin_ms:g} ms need to be told how many: expected dataset.time_bins above 0, found 0"
            )
        if bin_ms and others.data.get("window_ms"):
            raise ValueError(
                f"frames of {bin_ms:g} ms are those of whole recordings, not of windows: expected dataset.window_ms to "
                f"be 0, found {others.data['window_ms']:g}"
            )
        return bin_ms


class SpikingSpec(Settings):
    """The settings of a spiking model's neurons and of its input and output code.

    Attributes:
        timesteps: T, number of simulated steps.
        neuron: "if" (integrate and fire) or "lif" (leaky integrate and fire).
        threshold: membrane potential at or above which a neuron fires.
        tau: time constant of the leak in steps (lif only); the potential keeps 1 - 1/tau of itself each step.
        decay_input: whether a current counts 1/tau of itself, as SpikingJelly has it, or all of it (lif only).
        reset: "hard" (to 0) or "soft" (threshold subtracted).
        reset_order: where a soft reset stands, with decay b = 1 - 1/tau, potential U and spike S: "before_decay" is
            U[t] = b (U[t-1] - threshold S[t-1]) + I[t], SpikingJelly's order and that of snnTorch 0.7.0 where a
            network hands the state on itself; "after_decay" is U[t] = b U[t-1] + I[t] - threshold S[t-1], as in eq. 1
            of BrainLeaks (Poursiami, Alouani and Parsa 2024) and in snnTorch elsewhere and later.
        detach_reset: whether the reset is cut out of the backward pass.
        surrogate: the derivative used for the spike: "atan", "sigmoid" or "fast_sigmoid".
        slope: the surrogate's slope (alpha).
        encoder: "direct" (frame replicated), "rate" (Bernoulli) or "latency" (time to first spike).
        readout: "membrane" (time mean of the potential of output neurons that never fire), "spikes" (time mean of
            output spikes) or "potential" (time mean of the potential of output neurons that do fire, taken before the
            reset).

    snnTorch fires where the potential exceeds the threshold and SpikingJelly, as here, where it reaches it. Potentials
    that equal the threshold do not occur with drawn or trained weights; a threshold of 1.0000001 fires at those above
    1.0 only.
    """

    timesteps: int = Field(default=10, ge=1, le=MOST_STEPS)
    neuron: Literal["if", "lif"] = "if"
    threshold: float = Field(default=1.0, gt=0)
    tau: float = Field(default=2.0, gt=1)
    decay_input: bool = True
    reset: Literal["hard", "soft"] = "hard"
    reset_order: Literal["before_decay", "after_decay"] = "before_decay"
    detach_reset: bool = False
    surrogate: str = "atan"
    slope: float = Field(default=2.0, gt=0)
    encoder: Literal["direct", "rate", "latency"] = "direct"
    readout: Literal["membrane", "spikes", "potential"] = "membrane"

    @pydantic.field_validator("surrogate")
    @classmethod
    def _has_second_derivative(cls, name: str) -> str:
        if name in REFUSED_SURROGATES:
            raise ValueError(f"'{name}' is refused: {REFUSED_SURROGATES[name]}; use atan, sigmoid or fast_sigmoid")
        if name not in ("atan", "sigmoid", "fast_sigmoid"):
            guess = nearest(name, ("atan", "sigmoid", "fast_sigmoid"))
            raise ValueError(f"'{name}' is not known; use atan, sigmoid or fast_sigmoid.{guess}")
        return name

    @pydantic.model_validator(mode="after")
    def _possible(self) -> SpikingSpec:
        if self.reset_order == "after_decay" and self.reset == "hard":
            raise ValueError('reset_order: a hard reset has no order; for "after_decay" choose reset = "soft"')
        return self


BRAINLEAKS_NEURONS = SpikingSpec(
    timesteps=25,
    neuron="lif",
    tau=1.0 / (1.0 - 0.7),
    decay_input=False,
    reset="soft",
    detach_reset=True,
    surrogate="fast_sigmoid",
    slope=40.0,
    encoder="rate",
    readout="potential",
)
"""The neurons of BrainLeaks' target networks as their code runs them (snnTorch 0.7.0's `Leaky`, beta 0.7): a reset
before the decay. Their eq. 1 has it after the decay (`reset_order` "after_decay")."""


Presets = Mapping[str, Mapping[str, Scalar]]
"""{name: settings}."""


class PresetSettings(Settings):
    """Settings with named sets of constants; every other setting that is given overrides its preset's.

    Attributes:
        preset: a name in `PRESETS` of the class.
    """

    PRESETS: ClassVar[Presets] = {}
    preset: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _filled_by_the_preset(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic hands over what it was given
        if not isinstance(given, Mapping):
            return given
        name = given.get("preset", cls.model_fields["preset"].default)
        if not isinstance(name, str):
            return given  # which the type check refuses next
        if name not in cls.PRESETS:
            raise ValueError(cls._refusal(name))
        return {**cls.PRESETS[name], **given}

    @classmethod
    def _refusal(cls, name: str) -> str:
        """Return what is said of a preset that there is none of."""
        return f"preset '{name}' is not known; use {', '.join(cls.PRESETS)}.{nearest(name, cls.PRESETS)}"


class TrainingSettings(PresetSettings):
    """How a model is trained centrally: Adam with betas 0.9 and 0.999, a constant learning rate, nothing else.

    A preset is a set of constants; every other setting that is given overrides it. All but "own" are those of the
    target networks in the published code of BrainLeaks (Poursiami, Alouani and Parsa 2024), save that the spiking
    network for faces was never published and that the total number of epochs on DVS Gesture is not told; both are an
    own choice here. On N-MNIST their code tells 20 epochs as the least.

    Attributes:
        preset: a name in `PRESETS`; where none is told, that of the data set and kind of model, or "own".
        epochs: passes over the train split.
        batch_size: examples of a step. The last batch of a pass holds what is left.
        learning_rate: of Adam.
        clip: largest norm of a step's gradient; 0 for any.
        loss: "sum_over_time" is the cross-entropy of a spiking model's output at each step, summed over the steps;
            "mean_output" that of its output's time mean. Both are the mean of a batch, and both are the plain
            cross-entropy of an ANN.
        answer: which class a model is taken to name when its accuracy is measured, that of its largest "mean_output"
            or "spike_count" (of an output layer that fires; the first of equal ones).
    """

    PRESETS: ClassVar[Presets] = {
        "own": {},
        "mnist_ann": {"epochs": 50, "batch_size": 1000, "learning_rate": 1e-3, "clip": 0.0},
        "mnist_snn": {"epochs": 10, "batch_size": 100, "learning_rate": 5e-5, "answer": "spike_count"},
        "att_faces_ann": {"epochs": 70, "batch_size": 8, "learning_rate": 5e-5, "clip": 0.0},
        "att_faces_snn": {"epochs": 30, "batch_size": 8, "learning_rate": 5e-5},
        "nmnist_snn": {"epochs": 20, "batch_size": 100, "learning_rate": 2e-4},
        "dvs_gesture_snn": {"epochs": 20, "batch_size": 6, "learning_rate": 5e-5},
    }
    preset: str = "own"
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=50, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    clip: float = Field(default=1.0, ge=0)
    loss: Literal["sum_over_time", "mean_output"] = "sum_over_time"
    answer: Literal["mean_output", "spike_count"] = "mean_output"

    @classmethod
    def preset_for(cls, dataset: str, *, spiking: bool) -> str:
        """Return the preset of a kind of model on a data set, or "own" where there is none."""
        name = f"{dataset}_{'snn' if spiking else 'ann'}"
        return name if name in cls.PRESETS else "own"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Everything needed to rebuild a model but for its parameters.

    Attributes:
        architecture: name in the table `fl_sim.models.MODELS`.
        input: what the model reads.
        init: how its parameters were drawn: "uniform" (DLG's U(-0.5, 0.5)) or "torch" (the library's defaults).
        spiking: settings of a spiking model; None for an ANN.
        hidden: units of the hidden layer; read by "mlp" and "spiking_mlp" only.
    """

    architecture: str
    input: InputSpec
    init: str = "uniform"
    spiking: SpikingSpec | None = None
    hidden: int = 3000
