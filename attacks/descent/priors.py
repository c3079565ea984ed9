"""What is assumed of inputs before an update is seen: that they are smooth, and how dark their background is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_WIDEST = 3.0
"""Standard deviations at which a Gaussian kernel ends."""


def absolute_variation(inputs: Tensor) -> Tensor:
    """Return (V,), the sum of the mean absolute differences of vertical, horizontal and, of events, time neighbours.

    (V, N, C, H, W), or (V, T, N, C, H, W) for events.
    """
    axes = (-2, -1) if inputs.dim() == 5 else (-2, -1, 1)
    parts = [inputs.diff(dim=axis).abs().flatten(1).mean(1) for axis in axes if inputs.shape[axis] > 1]
    return torch.stack(parts).sum(0) if parts else inputs.new_zeros(len(inputs))


def blurred(slopes: Tensor, sigma: float) -> Tensor:
    """Return slopes (..., H, W) after a Gaussian blur of `sigma` pixels; 0 for none.

    The blurred slope is the direction of steepest descent in a Sobolev norm, in which smooth changes are short.
    """
    if sigma <= 0:
        return slopes
    reach = math.ceil(_WIDEST * sigma)
    places = torch.arange(-reach, reach + 1, device=slopes.device, dtype=slopes.dtype)
    kernel = torch.exp(-places.square() / (2.0 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = slopes.reshape(-1, 1, *slopes.shape[-2:])
    across = F.conv2d(flat, kernel, padding=(0, reach))
    return F.conv2d(across, kernel.mT, padding=(reach, 0)).view_as(slopes)


def with_dark_background(inputs: Tensor, margin: float) -> Tensor:
    """Return inputs in [0, 1] stretched so that values up to `margin` become 0 and those from 1 - `margin` become 1.

    A prior of pictures whose background is black and whose strokes are white. The matching loss does not choose it.
    """
    return ((inputs - margin) / (1.0 - 2.0 * margin)).clamp(0.0, 1.0)
