"""The matching loss of many victims whose deltas are held fixed, so that no spike is differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.folding import Fold
from attacks.folding.losses import cross_entropies
from attacks.reading.head import HeadRead
from fl_sim.losses import normalised
from fl_sim.observed import observed_gradient
from fl_sim.records import CapturedUpdate

Measure = Literal["cosine", "relative"]


@dataclass(frozen=True)
class Sight:
    """What is matched of one victim.

    Attributes:
        weights: {parameter name: factor in the loss} of the layers' weights.
        read: what its last layer tells, if it does.
    """

    weights: Mapping[str, float]
    read: HeadRead | None


class FrozenClients:
    """V clients that share the gradient of one batch, and whose layers' gradients are matched with frozen deltas.

    The gradient of a layer's weights is the product of the layer's input and of delta, the derivative of the loss at
    its output. Here delta is evaluated at the candidate and then taken for a constant. What is left of the derivative
    goes through the layers' inputs alone, that is, through the forward pass. If the residual d of the logits is known,
    the loss is <d, logits>, whose gradients at the truth are those of the client's own loss, whatever that is.

    Source: the observation that the derivative of a spiking network's deltas, which is the second derivative of the
    surrogate, is noise to the search; see attacks/README.md.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        see: returns what is matched of a victim; the residual of all or of none is known.
        measure: "cosine", 1 - cosine of each layer's gradients, or "relative", their squared difference relative to the
            captured one's square. The last layer, whose gradient is the residual times the features, always has the
            latter.
        device: where to compute.
        precision: torch dtype of the computation.
    """

    name = "folded, deltas frozen"

    def __init__(
        self,
        captures: Sequence[CapturedUpdate],
        see: Callable[[CapturedUpdate], Sight],
        measure: Measure,
        *,
        device: str,
        precision: torch.dtype,
    ) -> None:
        self._training, self._measure = captures[0].training.taken(), measure
        self._fold = Fold(captures[0].model, [one.parameters for one in captures], device=device, dtype=precision)
        self._names = self._fold.weights()
        self._see, self._device, self._precision = see, device, precision
        loaded = [self._load(capture) for capture in captures]
        self._factors, self._residuals = (
            torch.stack(parts) for parts in zip(*(one[:2] for one in loaded), strict=True)
        )
        self._observed = {name: torch.stack([one[2][name] for one in loaded]) for name in self._names}

    def _load(self, capture: CapturedUpdate) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the factors (layers,) and the residual (classes,), or (0,), of a victim, and its layers' gradients."""
        sight, gradient = self._see(capture), observed_gradient(capture)
        residual = torch.empty(0) if sight.read is None else sight.read.residual
        factors = torch.tensor([sight.weights.get(name, 0.0) for name in self._names])
        observed = {name: self._placed(gradient[name]) for name in self._names}
        return self._placed(factors), self._placed(residual), observed

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self._device, dtype=self._precision)

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the weighted sum of the layers' distances; 0 at the truth."""
        logits = self._fold.logits(normalised(self._training, inputs))
        if self._residuals.shape[1] == 0:
            losses = cross_entropies(self._training, logits, targets)
        else:
            losses = (self._residuals[:, None] * logits).sum((1, 2))
        used = {name: factors for name, factors in zip(self._names, self._factors.T, strict=True) if factors.any()}
        found = self._fold.frozen_gradients(losses, used)
        return torch.stack([factors * self._distance(name, found[name]) for name, factors in used.items()]).sum(0)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self._fold.keep(rows)
        self._observed = {name: tensor[rows] for name, tensor in self._observed.items()}
        self._factors, self._residuals = self._factors[rows], self._residuals[rows]

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self._fold.replace(row, capture.parameters)
        self._factors[row], self._residuals[row], observed = self._load(capture)
        for name, tensor in self._observed.items():
            tensor[row] = observed[name]

    def _distance(self, name: str, found: Tensor) -> Tensor:
        found, wanted = found.flatten(1), self._observed[name].flatten(1)
        size = wanted.square().sum(1)
        if self._measure == "cosine" and name != self._names[-1]:
            return torch.where(size > 0, 1.0 - F.cosine_similarity(found, wanted, dim=1), 0.0)
        return (found - wanted).square().sum(1) / torch.where(size > 0, size, 1.0)
