"""Regressions from rows of numbers to inputs."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.descent.fit import adam
from attacks.features.regression import left_out
from attacks.settings import LearnedSettings
from fl_sim.seeding import torch_stream

_RIDGES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Candidate ridges, in units of the mean of the kernel's diagonal."""

_JUDGED, _NUMBERS = 1000, 1024
_HELD_OUT = 0.1
_BATCH = 64
_LEARNING_RATE, _DECAY = 1e-3, 1e-2


class Prediction(NamedTuple):
    """An input, and what the regression is worth.

    Attributes:
        inputs: (P,).
        errors: mean squared errors of the candidates on auxiliary examples that were left out, relative to that of
            the mean input: of each ridge, or after each epoch.
    """

    inputs: Tensor
    errors: list[float]


def by_kernel(rows: Tensor, wanted: Tensor, inputs: Tensor, *, linear: bool) -> Prediction:
    """Return the prediction of a kernel ridge regression, with the ridge of the smallest leave-one-out error.

    The kernel is exp(-D / (2 median D)), with D the squared distance of rows, or the inner product. If no ridge is
    better than the mean input, that is the answer. The ridge is chosen on the first thousand examples and at most
    1,024 of their P numbers.

    Args:
        rows, wanted: (n, q) of known inputs, and (q,) of the wanted one.
        inputs: (n, P).
        linear: whether the kernel is the inner product.
    """
    kernel, row = rows @ rows.T, rows @ wanted
    if not linear:
        squares = kernel.diagonal()
        distances = (squares[:, None] + squares - 2.0 * kernel).clamp(min=0.0)
        own = (squares + wanted.square().sum() - 2.0 * row).clamp(min=0.0)
        median = distances[:_JUDGED, :_JUDGED].median().clamp(min=1e-12)
        kernel, row = torch.exp(-0.5 * distances / median), torch.exp(-0.5 * own / median)
    ridges = torch.tensor(_RIDGES).to(kernel) * kernel.diagonal().mean().clamp(min=1e-12)
    errors = _errors(kernel[:_JUDGED, :_JUDGED], inputs[:_JUDGED, :: -(-inputs.shape[1] // _NUMBERS)], ridges)
    mean, best = inputs.mean(0), min(range(len(errors)), key=errors.__getitem__)
    if errors[best] >= 1.0:
        return Prediction(mean, [*errors, 1.0])
    kernel.diagonal().add_(ridges[best])
    weights = torch.linalg.solve(kernel, row[:, None])[:, 0]
    return Prediction(weights @ inputs + (1.0 - weights.sum()) * mean, errors)


def _errors(kernel: Tensor, views: Tensor, ridges: Tensor) -> list[float]:
    """Return the leave-one-out errors of ridges, relative to that of the mean."""
    values, vectors = torch.linalg.eigh(kernel)
    values, centred = values.clamp(min=0.0), views - views.mean(0)
    rotated = vectors.T @ centred
    usual = float(centred.square().mean()) * (len(views) / (len(views) - 1)) ** 2
    return [left_out(values, vectors, rotated, centred, ridge) / max(usual, 1e-12) for ridge in ridges]


def by_network(rows: Tensor, wanted: Tensor, inputs: Tensor, settings: LearnedSettings) -> Prediction:
    """Return the prediction of a network with one hidden layer, after the epoch of the smallest held-out error.

    It learns the difference from the mean input, which it answers before the first epoch. Its first weights and batches
    depend on nothing but the sizes.

    Args:
        rows, wanted, inputs: as for `by_kernel`.
        settings: hidden units and epochs.
    """
    generator = torch_stream(0, "network", rows.shape[1], settings.hidden)
    width, mean = math.sqrt(rows.shape[1]), inputs.mean(0)
    first = torch.randn(settings.hidden, rows.shape[1], generator=generator) * math.sqrt(2.0) / width
    layers = [first.to(rows), rows.new_zeros(settings.hidden), rows.new_zeros(inputs.shape[1], settings.hidden)]
    for layer in layers:
        layer.requires_grad_()
    moments = [(torch.zeros_like(layer), torch.zeros_like(layer)) for layer in layers]
    steps = itertools.count(1)

    def answer(some: Tensor) -> Tensor:
        return mean + torch.relu(width * some @ layers[0].T + layers[1]) @ layers[2].T

    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    held, seen = order[: max(1, int(_HELD_OUT * len(rows)))], order[max(1, int(_HELD_OUT * len(rows))) :]
    with torch.no_grad():
        usual = float((inputs[held] - mean).square().mean())
        errors, best = [1.0], answer(wanted[None])[0]
    for _ in range(settings.epochs):
        for batch in torch.split(seen[torch.randperm(len(seen), generator=generator).to(seen.device)], _BATCH):
            loss = (answer(rows[batch]) - inputs[batch]).square().mean()
            slopes, step = torch.autograd.grad(loss, layers), next(steps)
            with torch.no_grad():
                for layer, slope, own in zip(layers, slopes, moments, strict=True):
                    layer.mul_(1.0 - _LEARNING_RATE * _DECAY).sub_(_LEARNING_RATE * adam(slope, own, step))
        with torch.no_grad():
            error = float((answer(rows[held]) - inputs[held]).square().mean()) / max(usual, 1e-12)
            best = answer(wanted[None])[0] if error < min(errors) else best
        errors.append(error)
    return Prediction(best, errors)
