"""The nouns that describe inputs and models. No torch here, so that a config is checked before torch is loaded."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pydantic
from pydantic import Field

Scalar = str | int | float | bool

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
    timesteps: int = 0

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
    """

    time_bins: int = Field(default=0, ge=0, le=1000)
    window_ms: float = Field(default=0.0, ge=0)
    polarity: Literal["both", "merged", "on", "off"] = "both"
    voxels: Literal["binary", "counts"] = "binary"


class SpikingSpec(Settings):
    """The settings of a spiking model's neurons and of its input and output code.

    Attributes:
        timesteps: T, number of simulated steps.
        neuron: "if" (integrate and fire) or "lif" (leaky integrate and fire).
        threshold: membrane potential at or above which a neuron fires.
        tau: time constant of the leak in steps (lif only).
        reset: "hard" (to 0) or "soft" (threshold subtracted).
        detach_reset: whether the reset is cut out of the backward pass.
        surrogate: the derivative used for the spike: "atan", "sigmoid" or "fast_sigmoid".
        slope: the surrogate's slope (alpha).
        encoder: "direct" (frame replicated), "rate" (Bernoulli) or "latency" (time to first spike).
        readout: "membrane" (time mean of the output membrane potential) or "spikes" (time mean of output spikes).
    """

    timesteps: int = Field(default=10, ge=1)
    neuron: Literal["if", "lif"] = "if"
    threshold: float = Field(default=1.0, gt=0)
    tau: float = Field(default=2.0, gt=1)
    reset: Literal["hard", "soft"] = "hard"
    detach_reset: bool = False
    surrogate: str = "atan"
    slope: float = Field(default=2.0, gt=0)
    encoder: Literal["direct", "rate", "latency"] = "direct"
    readout: Literal["membrane", "spikes"] = "membrane"

    @pydantic.field_validator("surrogate")
    @classmethod
    def _has_second_derivative(cls, name: str) -> str:
        if name in REFUSED_SURROGATES:
            raise ValueError(f"'{name}' is refused: {REFUSED_SURROGATES[name]}; use atan, sigmoid or fast_sigmoid")
        if name not in ("atan", "sigmoid", "fast_sigmoid"):
            raise ValueError(f"'{name}' is not known; use atan, sigmoid or fast_sigmoid")
        return name


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Everything needed to rebuild a model but for its parameters.

    Attributes:
        architecture: name in the table `fl_sim.models.MODELS`.
        input: what the model reads.
        init: how its parameters were drawn: "uniform" (DLG's U(-0.5, 0.5)) or "torch" (the library's defaults).
        spiking: settings of a spiking model; None for an ANN.
    """

    architecture: str
    input: InputSpec
    init: str = "uniform"
    spiking: SpikingSpec | None = None
