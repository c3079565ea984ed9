"""Candidates drawn about a picture: smooth deformations, smooth noise, and mixtures with pictures of a prior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.descent.priors import blurred

_WARPED, _NOISY = 0.5, 0.25
_AFFINE, _SHIFT, _DISPLACEMENT, _BEND = 0.08, 0.06, 0.06, 3.0
_FINE, _COARSE = 0.1, 0.25
_MOST_MIXED = 0.8


def proposals(picture: Tensor, prior: Tensor, count: int, spread: float, generator: torch.Generator) -> Tensor:
    """Return candidates (count, C, H, W) in [0, 1] about a picture.

    Half are deformed, a quarter has smooth noise where the picture is bright or near that, a quarter is mixed with
    pictures of the prior.

    Args:
        picture: (1, C, H, W) in [0, 1].
        prior: (n, C, H, W).
        count: number of candidates.
        spread: how far they go, 1 for far.
        generator: of the draws.
    """
    warped, noisy = int(count * _WARPED), int(count * _NOISY)
    mixed = count - warped - noisy
    fine = _FINE * spread * _noise(picture, warped, 1.0, generator) * (_near(picture, 5) + 0.1)
    coarse = _COARSE * spread * _noise(picture, noisy, 1.5, generator) * (_near(picture, 7) + 0.2)
    chosen = prior[torch.randint(len(prior), (mixed,), generator=generator)]
    share = _MOST_MIXED * spread * torch.rand(mixed, 1, 1, 1, generator=generator)
    parts = [
        _deformed(picture, warped, spread, generator) + fine,
        picture + coarse,
        (1.0 - share) * picture + share * chosen,
    ]
    return torch.cat(parts).clamp(0.0, 1.0)


def _near(picture: Tensor, size: int) -> Tensor:
    """Return the largest value within a square of pixels."""
    return F.max_pool2d(picture, size, 1, size // 2)


def _noise(picture: Tensor, count: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Return smooth noise (count, C, H, W) of unit variance."""
    noise = blurred(torch.randn(count, *picture.shape[1:], generator=generator), sigma)
    return noise / noise.std().clamp(min=1e-12)


def _deformed(picture: Tensor, count: int, spread: float, generator: torch.Generator) -> Tensor:
    """Return random smooth deformations (count, C, H, W) of a picture."""
    scales = torch.tensor([[_AFFINE, _AFFINE, _SHIFT]] * 2)
    change = spread * scales * torch.randn(count, 2, 3, generator=generator)
    grid = F.affine_grid(torch.eye(2, 3) + change, [count, *picture.shape[1:]], align_corners=False)
    one = picture[:, :1]
    bends = [_noise(one, count, _BEND, generator) for _ in range(2)]
    grid = grid + _DISPLACEMENT * spread * torch.cat(bends, 1).movedim(1, -1)
    return F.grid_sample(picture.expand(count, -1, -1, -1), grid, align_corners=False)
