"""Which reconstruction belongs to which original: a gradient of a batch does not tell the order."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from judges.scoring.image_metrics import as_images


def assign(reconstructions: Tensor, originals: Tensor) -> Tensor:
    """Return the order that pairs a batch of reconstructions with its originals at the least total MSE.

    `reconstructions[order]` lies beside `originals`. It is the one assignment of a batch (Kuhn 1955, the Hungarian
    method); every metric is then computed on these pairs. A reconstruction that is not finite costs the same
    beside every original, so it takes whichever is left over and disturbs no other pair.

    Args:
        reconstructions: (N, C, H, W).
        originals: (N, C, H, W), finite.

    Returns:
        int64 (N,), a permutation.

    Raises:
        ValueError: the shapes differ or are not (N, C, H, W).
    """
    if originals.ndim != 4 or reconstructions.shape != originals.shape:
        raise ValueError(
            "expected two tensors of the same shape (N, C, H, W), got "
            f"{tuple(reconstructions.shape)} and {tuple(originals.shape)}"
        )
    ours = reconstructions.detach().to("cpu", torch.float64).flatten(1)
    truth = originals.detach().to("cpu", torch.float64).flatten(1)
    cost = torch.stack([(ours - row).square().mean(dim=1) for row in truth]).numpy()  # originals x reconstructions
    cost[:, ~np.isfinite(cost).all(axis=0)] = 0.0
    _, columns = linear_sum_assignment(cost)
    return torch.from_numpy(np.asarray(columns, dtype=np.int64))


def assigned(answers: Tensor, truth: Tensor) -> Tensor:
    """Return the order that pairs answers with the truth, both (N, C, H, W), or (T, N, C, H, W) of events."""
    return assign(as_images(answers), as_images(truth))
