"""Which reconstruction belongs to which original: the gradient of a batch does not reveal the order."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fl_sim.specs import InputSpec
from judges.scoring.image_metrics import as_images, checked
from judges.scoring.text_metrics import with_counts


def assign(reconstructions: Tensor, originals: Tensor) -> Tensor:
    """Return the order that pairs a batch of reconstructions with its originals at the least total MSE.

    `reconstructions[order]` corresponds to `originals`. A batch is assigned once (Kuhn 1955, the Hungarian method), and
    every metric is computed on these pairs. A reconstruction that is not finite costs the same for every original, so
    it takes one that is left over and disturbs no other pair.

    Args:
        reconstructions: (N, C, H, W).
        originals: (N, C, H, W), finite.

    Returns:
        int64 (N,), a permutation.

    Raises:
        ValueError: the shapes differ or are not (N, C, H, W), or an original is not finite.
    """
    ours, truth = (images.flatten(1) for images in checked(reconstructions, originals))
    if bool((ours == ours[:1]).all()):  # every order costs the same, and of a thousand examples the search takes long
        return torch.arange(len(truth))
    # By inner products, in float64, whose cancellation leaves errors far below any MSE that would change the order.
    squares = truth.square().sum(1)[:, None] + ours.square().sum(1) - 2.0 * truth @ ours.T
    cost = (squares / ours.shape[1]).numpy()  # originals x reconstructions
    cost[:, ~np.isfinite(cost).all(axis=0)] = 0.0
    _, columns = linear_sum_assignment(cost)
    return torch.from_numpy(np.asarray(columns, dtype=np.int64))


def assigned(answers: Tensor, truth: Tensor, spec: InputSpec | None = None) -> Tensor:
    """Return the order that pairs answers with the truth, both (N, C, H, W), or (T, N, C, H, W) for events.

    Texts, which only their spec tells, are paired by their tokens and by how often each occurs.
    """
    if spec is not None and spec.vocabulary:
        return assign(with_counts(answers), with_counts(truth))
    return assign(as_images(answers), as_images(truth))
