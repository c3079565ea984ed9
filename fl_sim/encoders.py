"""Encoding of images as spikes: (N, C, H, W) in [0, 1] -> (T, N, C, H, W).

Rate and latency codes are step functions of the pixel. Their forward pass is exact; their backward pass is a
straight-through estimate (of the spike probability, or of a triangle around the spike time), so that an attacker can
differentiate them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fl_sim.errors import unknown_name

ENCODERS = ("direct", "rate", "latency")


class Encoder(nn.Module):
    """Turns a batch of images into T time steps of input.

    Attributes:
        seed: of the Bernoulli draws of the rate code. The same seed draws the same spikes for inputs of the same
            shape; a client sets a new seed for each batch, and the server does not know it.
        models: number of models that share the channel axis (see `attacks.folding`); all read the same draws.
    """

    def __init__(self, name: str, timesteps: int) -> None:
        super().__init__()
        if name not in ENCODERS:
            raise unknown_name("model.encoder", name, ENCODERS)
        self.name = name
        self.timesteps = timesteps
        self.seed = 0
        self.models = 1

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (T, N, C, H, W) for inputs (N, C, H, W)."""
        if self.name == "direct":
            return direct(inputs, self.timesteps)
        if self.name == "rate":
            generator = torch.Generator().manual_seed(self.seed)
            return rate(inputs, self.timesteps, generator=generator, models=self.models)
        return latency(inputs, self.timesteps)


def direct(inputs: Tensor, timesteps: int) -> Tensor:
    """Return the frame repeated over T steps, without copying it."""
    return inputs.expand(timesteps, *inputs.shape)


def rate(inputs: Tensor, timesteps: int, *, generator: torch.Generator, models: int = 1) -> Tensor:
    """Return Bernoulli spikes whose probability is the pixel's value; the gradient is that of the probability.

    Args:
        inputs: (N, models * C, H, W).
        timesteps: T.
        generator: of the draws.
        models: number of blocks of channels that share one draw.
    """
    probability = direct(inputs, timesteps)
    count, channels, *sides = inputs.shape
    uniform = torch.rand((timesteps, count, channels // models, *sides), generator=generator)
    uniform = uniform.to(inputs).repeat(1, 1, models, *[1] * len(sides))
    return (uniform < probability).to(inputs).detach() + (probability - probability.detach())


def latency(inputs: Tensor, timesteps: int) -> Tensor:
    """Return one spike per pixel, at step round((T - 1)(1 - x)): bright pixels fire first."""
    steps = torch.arange(timesteps, device=inputs.device).to(inputs).view(-1, *[1] * inputs.dim())
    time = (timesteps - 1) * (1.0 - inputs.clamp(0.0, 1.0))
    triangle = (1.0 - (steps - time).abs()).clamp(min=0.0)
    return (steps == time.round()).to(inputs).detach() + (triangle - triangle.detach())
