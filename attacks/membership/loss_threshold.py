"""The loss threshold: members have a smaller loss (Yeom, Giacomelli, Fredrikson and Jha, CSF 2018, adversary 2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from attacks.contracts import Background, Candidates, Observed
from attacks.membership.base import Inference
from attacks.membership.settings import LossThresholdSettings


class LossThreshold(Inference[LossThresholdSettings]):
    """Scores a candidate by minus its loss; the judge tries every threshold."""

    name = "loss_threshold"

    def scores(
        self,
        observed: Observed,
        candidates: Candidates,
        background: Background,  # noqa: ARG002 - knows the model only
        *,
        seed: int,
        device: str,
    ) -> Tensor:
        """Return minus the cross-entropy of the mean posterior over all draws, log p = -softplus(-log-odds)."""
        return -F.softplus(-self.queried(observed, candidates, seed=seed, device=device))
