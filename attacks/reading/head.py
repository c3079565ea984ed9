"""What the gradient of the last layer tells of a single example: the residual of its logits, and its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.reading.last_layer import LastLayer
from fl_sim.observed import batch_size, local_steps, observed_gradient
from fl_sim.records import CapturedUpdate

FAINT = 0.05
"""Share of active features below which the last hidden layer says next to nothing about an example."""

_ZERO = 1e-6
"""Features up to this share of the largest that a model has for dummy inputs, or of 1, are 0 but for rounding."""


@dataclass(frozen=True)
class HeadRead:
    """What the last layer's gradient tells of the one example behind an update.

    With logits z = W F + kappa b, as of a linear layer or of output neurons that integrate without a reset, and any
    loss, d loss / d b = kappa d and d loss / d W = d F^T with the residual d = d loss / d z. So both follow from the
    gradient: d = g_b / kappa, F = g_W^T d / |d|^2.

    Attributes:
        residual: (classes,), d. With cross-entropy it is p - y, the probabilities less the one-hot label.
        features: (F,), what the weights of the last layer are multiplied with; of a spiking model, the sum of its
            last hidden spikes with the weights that the readout gives to the time steps. If the logits are the mean
            potential of output neurons without leak over T steps, a spike at step t counts (T - t + 1) / T, so that T
            times a feature is a whole number from 0 to T (T + 1) / 2, the sum of T - t + 1 over its spikes.
        error: |g_W - d F^T| / |g_W|: about 0 if the update is the unmodified gradient of one example.
        active: share of the features that are not 0.
    """

    residual: Tensor
    features: Tensor
    error: float
    active: float


def read_head(capture: CapturedUpdate, layer: LastLayer | None = None) -> HeadRead | None:
    """Return what the last layer tells, or None.

    It tells nothing if there are several examples or local steps, or no last layer with a bias and weights, or if the
    logits do not depend on it as above.

    Args:
        capture: what the server saw.
        layer: its last layer, if that was found before.
    """
    if batch_size(capture) != 1 or len(local_steps(capture)) != 1:
        return None
    layer = layer or LastLayer(capture)
    if not layer.bias or not layer.weight or not layer.is_affine():
        return None
    gradient = observed_gradient(capture)
    residual = (gradient[layer.bias].cpu() / layer.gain()).double()
    rows = gradient[layer.weight].cpu().flatten(1).double()
    energy = residual.square().sum()
    if not 0.0 < float(energy) < torch.inf:
        return None
    features = rows.T @ residual / energy
    size = rows.norm()
    error = float((rows - torch.outer(residual, features)).norm() / size) if float(size) > 0 else 0.0
    usual = max(float(layer.features().abs().max()), 1.0)
    active = float((features.abs() > _ZERO * usual).double().mean())
    return HeadRead(residual.float(), features.float(), error, active)
