"""The matching loss of many victims in one pass, by the fold of their models."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from attacks.folding import Fold
from attacks.folding.captured import Targets
from attacks.folding.losses import cross_entropies
from attacks.replay.measures import Measure, cosine_distance
from fl_sim.client_training import CROSS_ENTROPY, ClientTraining
from fl_sim.losses import loss_name, normalised
from fl_sim.observed import batch_size, observed_gradient
from fl_sim.records import CapturedUpdate

_TAKEN_CARE_OF = ("loss_scale", "label_smoothing", "reduction", "mean", "std", "mode", "drop_last")
"""Fields of a training that the fold takes into account, or that the check examines."""

_OF_LATER_STEPS = ("momentum", "dampening", "proximal_mu", "beta_1", "beta_2", "epsilon")
"""Fields on which one step of SGD does not depend: the momentum buffer after the first step is the gradient, and
FedProx's term is 0 there."""

_REPLAYED = ("optimiser", "nesterov", "weight_decay", "frozen")
"""Further fields that a replay takes into account for many clients at a time; clipping needs each client's norm."""


class FoldedClients:
    """V clients that share the gradient of one batch of cross-entropy; see `attacks.engines.Engine`.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        device: where to compute.
        precision: torch dtype of the computation.

    Raises:
        ConfigError: the model cannot be folded, or an update is a delta whose learning rate is not known.
    """

    name = "folded"

    def __init__(self, captures: Sequence[CapturedUpdate], *, device: str, precision: torch.dtype) -> None:
        self._training = captures[0].training.taken()
        self.fold = Fold(captures[0].model, [one.parameters for one in captures], device=device, dtype=precision)
        observed = [observed_gradient(capture) for capture in captures]
        self._targets = Targets(observed, self.fold.ranks(batch_size(captures[0])), device=device, dtype=precision)

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
        logits = self.fold.logits(normalised(self._training, inputs))
        return self.fold.distances(cross_entropies(self._training, logits, targets), self._targets)


class FoldedCosines:
    """V clients that share the gradient of one batch, whose gradients are compared by cosine.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        measure: "cosine" or "layer_cosine"; see `attacks.replay.measures`.
        device: where to compute.
        precision: torch dtype of the computation.

    Raises:
        ConfigError: as for `FoldedClients`.
    """

    name = "folded"

    def __init__(
        self, captures: Sequence[CapturedUpdate], *, measure: Measure, device: str, precision: torch.dtype
    ) -> None:
        self._training, self._measure = captures[0].training.taken(), measure
        self._fold = Fold(captures[0].model, [one.parameters for one in captures], device=device, dtype=precision)
        observed = [observed_gradient(capture) for capture in captures]
        self._observed = {
            name: torch.stack([one[name] for one in observed]).to(device=device, dtype=precision)
            for name in self._fold.parameters()
        }

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self._fold.keep(rows)
        self._observed = {name: tensor[rows] for name, tensor in self._observed.items()}

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self._fold.replace(row, capture.parameters)
        gradient = observed_gradient(capture)
        for name, tensor in self._observed.items():
            tensor[row] = gradient[name]

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), 1 - cosine."""
        logits = self._fold.logits(normalised(self._training, inputs))
        found = self._fold.gradients(cross_entropies(self._training, logits, targets))
        return cosine_distance(found, self._observed, _by_victim, by_layer=self._measure == "layer_cosine")


def _by_victim(tensor: Tensor) -> Tensor:
    return tensor.flatten(1).sum(1)


def unfoldable(capture: CapturedUpdate) -> str:
    """Return why a client's training of one step is not the gradient of cross-entropy, or "" if it is."""
    return _other(capture, (*_TAKEN_CARE_OF, *_OF_LATER_STEPS))


def not_together(captures: Sequence[CapturedUpdate]) -> str:
    """Return why clients of several local steps cannot be replayed together, or ""."""
    if len({capture.learning_rate for capture in captures}) > 1:
        return "the clients have different learning rates"
    return _other(captures[0], (*_TAKEN_CARE_OF, *_OF_LATER_STEPS, *_REPLAYED))


def _other(capture: CapturedUpdate, taken_care_of: Collection[str]) -> str:
    """Return what of a training is neither cross-entropy nor plain SGD nor among the fields `taken_care_of`, or ""."""
    if capture.model.input.vocabulary:
        return "it reads texts"
    taken, plain = capture.training.taken(), ClientTraining().taken()
    loss = loss_name(capture.training, capture.model.input.classes)
    if loss != CROSS_ENTROPY:
        return f"its loss is {loss}"
    for name, value in taken.model_dump().items():
        if name not in taken_care_of and value != getattr(plain, name):
            return f"its training has {name} = {value}"
    return ""
