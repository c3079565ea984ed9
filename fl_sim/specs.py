"""Specifications of inputs and models. Nothing here imports torch, so that a config is checked without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from fl_sim.errors import ConfigError, nearest

Scalar = str | int | float | bool

LATER: Mapping[str, Any] = {"later": True}
"""Metadata of a field that came later: a record does not store it where it is None, so that such records keep their
bytes; a table of rows may lack its column."""

MOST_STEPS = 1000
"""Maximum number of time steps of a recording or a network: a file may claim any number, and memory grows with it."""

# Surrogates of SpikingJelly that gradient matching cannot use, with the reasons.
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
        low, high: value range of the inputs, which every metric uses.
        timesteps: number of time bins of an event recording; 0 for a still image.
        vocabulary: V, number of different tokens of a text of L tokens, whose input is one-hot: one channel, height L,
            width V, and values from 0 to 1. The model itself reads whole numbers (N, L), see `fl_sim.tokens`. 0 where
            inputs are numbers.

    Raises:
        ConfigError: it is a text of another shape or range.
    """

    channels: int
    height: int
    width: int
    classes: int
    low: float = 0.0
    high: float = 1.0
    timesteps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    vocabulary: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Refuse a text of another shape than (1, L, V), or of another range than 0 to 1."""
        found = self.channels, self.width, self.low, self.high, self.timesteps
        if self.vocabulary and found != (1, self.vocabulary, 0.0, 1.0, 0):
            raise ConfigError(
                "vocabulary: expected a text of L tokens as InputSpec(1, L, VOCABULARY, CLASSES, "
                f"vocabulary=VOCABULARY) without timesteps and other values than 0 and 1, got {self}."
            )

    def facts(self) -> dict[str, Any]:
        """Return the fields by name for the names of files that users keep: without a vocabulary, as before texts."""
        told = dataclasses.asdict(self)
        return told if self.vocabulary else {name: value for name, value in told.items() if name != "vocabulary"}

    @property
    def frame(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return self.channels, self.height, self.width


class Settings(pydantic.BaseModel):
    """Base of all settings: frozen, strictly typed, without unknown keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Framing(Settings):
    """How a recording of events becomes T frames. Only event data sets read these settings.

    Attributes:
        time_bins: T, number of frames of one example, all of equal duration; 0 for the data set's default.
        window_ms: length of the windows into which a recording is cut, each an example; 0 for whole recordings. A
            remainder shorter than a window is dropped. All windows of a recording are on the same side of a split.
        polarity: "both" (two channels: off, on), "merged" (one channel), "on" or "off" (one channel, without the
            events of the other polarity).
        voxels: "binary" (1 where there is at least one event) or "counts".
        bin_ms: duration of one frame; 0 to divide the recording, or the window, into equal frames. If set, time_bins
            frames are taken from the start of the recording: a longer recording is cut off after them, a shorter one
            is padded with empty frames, and a frame that it only partly fills is left empty too, as tonic's ToFrame
            drops it. Requires time_bins and excludes window_ms.
        denoise_ms: an event is kept only if one of its four neighbouring pixels had its last event, of any polarity,
            less than this time before; 0 to keep all events. This is the rule of tonic's Denoise. The recording then
            starts at the first event kept and ends after the last.
        classes: use only the recordings of the first `classes` classes; 0 for all classes.
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
            raise ValueError(f"expected 0, or at least the time resolution of 0.001 ms, got {duration:g}")
        return duration

    # A validator of the field and not of the model, so that the error is reported with the full path of the key.
    @pydantic.field_validator("bin_ms")
    @classmethod
    def _goes_with_time_bins_only(cls, bin_ms: float, others: pydantic.ValidationInfo) -> float:
        if bin_ms and others.data.get("time_bins") == 0:
            raise ValueError(
                f"frames of {bin_ms:g} ms need a number of frames: expected dataset.time_bins above 0, found 0"
            )
        if bin_ms and others.data.get("window_ms"):
            raise ValueError(
                f"frames of {bin_ms:g} ms apply to whole recordings, not to windows: expected dataset.window_ms to be "
                f"0, found {others.data['window_ms']:g}"
            )
        return bin_ms


class OwnData(Settings):
    """What data of the user's own do not say themselves. Only "npz", "folder" and "huggingface" read these settings.

    Attributes:
        test_fraction: share of the examples that is for test, where the data have no split of their own: those whose
            names come first by their SHA-256, of each class at least one of two.
        test_split: "of each class" takes that share of each class; "random" of all examples together, by their names as
            well, so that a class with few examples may be in one split only: of LFW's people, two thirds of the test
            pictures at most are of people who are in the train split.
        people: whether the data may show people, whose pictures reports then hide; say false if they show none.
    """

    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    test_split: Literal["of each class", "random"] = "of each class"
    people: bool = True


class SpikingSpec(Settings):
    """The settings of a spiking model: its neurons, input encoding and readout.

    Attributes:
        timesteps: T, number of simulated steps.
        neuron: "if" (integrate and fire) or "lif" (leaky integrate and fire).
        threshold: membrane potential at or above which a neuron fires.
        tau: time constant of the leak in steps (lif only); the potential is multiplied by 1 - 1/tau at each step.
        decay_input: whether the input current is multiplied by 1/tau, as in SpikingJelly, or used as it is (lif only).
        reset: "hard" (to 0) or "soft" (threshold subtracted).
        reset_order: when a soft reset is applied, with decay b = 1 - 1/tau, potential U and spike S: "before_decay" is
            U[t] = b (U[t-1] - threshold S[t-1]) + I[t], the order of SpikingJelly, and of snnTorch 0.7.0 if a network
            passes the state itself; "after_decay" is U[t] = b U[t-1] + I[t] - threshold S[t-1], as in eq. 1 of
            BrainLeaks (Poursiami, Alouani and Parsa 2024), and in snnTorch otherwise and in later versions.
        detach_reset: whether the reset is excluded from the backward pass.
        surrogate: the derivative used for the spike: "atan", "sigmoid" or "fast_sigmoid".
        slope: the surrogate's slope (alpha).
        encoder: "direct" (repeated frame), "rate" (Bernoulli) or "latency" (time to first spike).
        readout: "membrane" (time mean of the potential of output neurons that never fire), "spikes" (time mean of
            output spikes) or "potential" (time mean of the potential of output neurons that do fire, taken before the
            reset).

    A neuron of snnTorch fires if its potential exceeds the threshold; in SpikingJelly and here it fires if its
    potential reaches the threshold. A potential exactly equal to the threshold does not occur with random or trained
    weights; with a threshold of 1.0000001, neurons fire only above 1.0.
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
"""The neurons of BrainLeaks' target networks as in the authors' code (`Leaky` of snnTorch 0.7.0, beta 0.7): reset
before the decay. Their eq. 1 resets after the decay (`reset_order` "after_decay")."""


Presets = Mapping[str, Mapping[str, Scalar]]
"""{name: settings}."""


class PresetSettings(Settings):
    """Settings with presets, named sets of values. A setting that is passed explicitly overrides that of the preset.

    Attributes:
        preset: a name in the `PRESETS` of the class.
    """

    PRESETS: ClassVar[Presets] = {}
    preset: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, raw: Any) -> Any:  # noqa: ANN401 - the raw input of pydantic
        if not isinstance(raw, Mapping):
            return raw
        name = raw.get("preset", cls.model_fields["preset"].default)
        if not isinstance(name, str):
            return raw  # the type check of the field rejects it next
        if name not in cls.PRESETS:
            raise ValueError(cls._unknown_preset(name))
        return {**cls.PRESETS[name], **raw}

    @classmethod
    def _unknown_preset(cls, name: str) -> str:
        """Return the error message for an unknown preset."""
        return f"preset '{name}' is not known; use {', '.join(cls.PRESETS)}.{nearest(name, cls.PRESETS)}"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Everything needed to rebuild a model except its parameters.

    Attributes:
        architecture: name in the table `fl_sim.models.MODELS`.
        input: specification of the model's input.
        init: initialisation of the parameters: "uniform" (DLG's U(-0.5, 0.5)) or "torch" (the library's defaults).
        spiking: settings of a spiking model; None for an ANN.
        hidden: units of the hidden layer; used by "mlp" and "spiking_mlp" only.

    Raises:
        ConfigError: the name is empty or holds a control character, with which no table of results can be read.
    """

    architecture: str
    input: InputSpec
    init: str = "uniform"
    spiking: SpikingSpec | None = None
    hidden: int = 3000

    def __post_init__(self) -> None:
        """Refuse a name that no table of results could hold."""
        if not self.architecture or not self.architecture.isprintable():
            raise ConfigError(
                f"model: expected a name of printable characters, got {self.architecture[:80]!r}: tables of results "
                "and folders are named by it."
            )
