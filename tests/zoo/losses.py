"""A loss of the user's own, which a `ClientTraining` names by its place."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss with exponent 2 of logits (N, K) for class probabilities (N, K) (Lin et al. 2017)."""
    logarithms = F.log_softmax(outputs, dim=1)
    return -(targets * (1.0 - logarithms.exp()).square() * logarithms).sum(1).mean()
