"""Ridge regressions from features to inputs, in the dual, since there are fewer examples than numbers."""

from __future__ import annotations

import torch
from torch import Tensor

_KERNEL_RIDGE = 0.1
_LEAST_SPREAD = 0.1
OUTLIER = 4.0
"""Standard deviations beyond which a coordinate is taken for an outlier."""

_DEAD = 1e-3
_RIDGES = torch.logspace(-2.0, 1.0, 10)
"""Candidate ridges, in units of the mean eigenvalue."""


def kernel_ridge(features: Tensor, inputs: Tensor, wanted: Tensor) -> Tensor:
    """Return the input (P,) that a kernel ridge regression predicts for features (F,).

    The kernel is exp(-D / median D), with D the squared distance of standardised features.

    Args:
        features: (n, F) of known inputs.
        inputs: (n, P).
        wanted: (F,).
    """
    known, target = standardised(features, wanted, least=_LEAST_SPREAD)
    distances = torch.cdist(known, known).square()
    median = distances.median().clamp(min=1e-12)
    kernel = torch.exp(-distances / median)
    row = torch.exp(-(known - target).square().sum(1) / median)
    mean = inputs.mean(0)
    ridge = kernel + _KERNEL_RIDGE * torch.eye(len(kernel), device=kernel.device)
    weights = torch.linalg.solve(ridge, row)
    predicted: Tensor = mean + weights @ (inputs - mean)
    return predicted


def local_ridge(features: Tensor, inputs: Tensor, wanted: Tensor) -> Tensor:
    """Return the input (P,) that a linear ridge regression predicts; its ridge is chosen by leave-one-out errors.

    Args:
        features, inputs, wanted: as for `kernel_ridge`.
    """
    known, target = standardised(features, wanted, least=_LEAST_SPREAD)
    mean = inputs.mean(0)
    centred = inputs - mean
    values, vectors = torch.linalg.eigh(known @ known.T)
    values = values.clamp(min=0.0)
    rotated = vectors.T @ centred
    ridges = _RIDGES.to(values) * values.mean().clamp(min=1e-12)
    ridge = min(ridges, key=lambda one: left_out(values, vectors, rotated, centred, one))
    weights = vectors @ ((vectors.T @ (known @ target.clamp(-OUTLIER, OUTLIER))) / (values + ridge))
    predicted: Tensor = mean + weights @ centred
    return predicted


def left_out(values: Tensor, vectors: Tensor, rotated: Tensor, centred: Tensor, ridge: Tensor) -> float:
    """Return the mean squared leave-one-out error of a ridge."""
    shrunk = values / (values + ridge)
    leverage = (vectors.square() * shrunk).sum(1)
    residual = (centred - vectors @ (shrunk[:, None] * rotated)) / (1.0 - leverage).clamp(min=_DEAD)[:, None]
    return float(residual.square().mean())


def standardised(known: Tensor, wanted: Tensor, *, least: float) -> tuple[Tensor, Tensor]:
    """Return rows (n, F') and a wanted row (F',) by the mean and spread of the former, without dead coordinates.

    Args:
        known, wanted: (n, F) and (F,).
        least: coordinates of smaller spread, relative to the largest, are divided by this one.
    """
    mean, spread = known.mean(0), known.std(0)
    alive = spread > _DEAD * spread.max()
    scale = spread.clamp(min=least * float(spread.max()))
    rows, row = ((value - mean) / scale for value in (known, wanted))
    return rows[:, alive], row[alive]
