"""The matching loss of many victims in one pass, by the fold of their models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.folding import Fold
from attacks.folding.captured import Targets
from fl_sim.client_training import CROSS_ENTROPY, ClientTraining
from fl_sim.losses import loss_name, normalised
from fl_sim.observed import local_steps, observed_gradient
from fl_sim.records import CapturedUpdate

_TAKEN_CARE_OF = (
    "loss_scale", "label_smoothing", "reduction", "mean", "std", "mode", "drop_last", "momentum", "dampening",
    "proximal_mu", "beta_1", "beta_2", "epsilon",
)  # fmt: skip
"""Fields of a training that the fold takes into account, that the check examines, or on which one step of SGD does not
depend: the momentum buffer after the first step is the gradient, and FedProx's term is 0 there."""


class FoldedClients:
    """V clients that share the gradient of one batch of cross-entropy; see `attacks.engines.Engine`.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        examples: N.
        device: where to compute.
        precision: torch dtype of the computation.

    Raises:
        ConfigError: the model cannot be folded, or an update is a delta whose learning rate is not known.
    """

    name = "folded"

    def __init__(
        self, captures: Sequence[CapturedUpdate], examples: int, *, device: str, precision: torch.dtype
    ) -> None:
        self._training = captures[0].training.taken()
        self._examples = examples
        self.fold = Fold(captures[0].model, [one.parameters for one in captures], device=device, dtype=precision)
        observed = [observed_gradient(capture) for capture in captures]
        self._targets = Targets(observed, self.fold.ranks(examples), device=device, dtype=precision)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.fold.keep(rows)
        self._targets.keep(rows)

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self.fold.replace(row, capture.parameters)
        self._targets.replace(row, observed_gradient(capture))

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the squared distances (arXiv 2511.21181, eq. 2)."""
        log_probabilities = F.log_softmax(self.fold.logits(normalised(self._training, inputs)), dim=-1)
        smoothing = self._training.label_smoothing or 0.0
        if smoothing:
            targets = targets * (1.0 - smoothing) + smoothing / targets.shape[-1]
        losses = -(targets * log_probabilities).sum(-1).mean(-1)
        scale = (self._training.loss_scale or 1.0) * (self._examples if self._training.reduction == "sum" else 1)
        return self.fold.distances(losses if scale == 1 else losses * scale, self._targets)


def unfoldable(capture: CapturedUpdate) -> str:
    """Return why a client's training is not the gradient of one batch of cross-entropy, or "" if it is."""
    if capture.model.input.vocabulary:
        return "it reads texts"
    taken, plain = capture.training.taken(), ClientTraining().taken()
    loss = loss_name(capture.training, capture.model.input.classes)
    if loss != CROSS_ENTROPY:
        return f"its loss is {loss}"
    if len(local_steps(capture)) > 1:
        return f"the update is of {len(local_steps(capture))} local steps"
    for name, value in taken.model_dump().items():
        if name not in _TAKEN_CARE_OF and value != getattr(plain, name):
            return f"its training has {name} = {value}"
    return ""
