"""The losses of V victims at once."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fl_sim.client_training import ClientTraining


def cross_entropies(training: ClientTraining, logits: Tensor, targets: Tensor) -> Tensor:
    """Return (V,), the loss of each victim's batch, for logits and targets (V, N, K).

    Args:
        training: how the clients train, with every field known.
        logits, targets: of the victims' examples.
    """
    smoothing = training.label_smoothing or 0.0
    if smoothing:
        targets = targets * (1.0 - smoothing) + smoothing / targets.shape[-1]
    losses = -(targets * F.log_softmax(logits, dim=-1)).sum(-1).mean(-1)
    scale = (training.loss_scale or 1.0) * (logits.shape[-2] if training.reduction == "sum" else 1)
    return losses if scale == 1 else losses * scale
