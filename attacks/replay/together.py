"""The local steps of many clients replayed at a time, by the fold of their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attacks.folding import Fold
from attacks.folding.losses import cross_entropies
from attacks.replay.adjoint import Replay, with_derivatives
from attacks.replay.measures import Measure
from attacks.replay.module import Tensors
from fl_sim.client_steps import trainable
from fl_sim.losses import normalised
from fl_sim.models import build_model
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate


class ReplayedTogether:
    """V clients of several local steps whose models are folded; see `attacks.engines.Engine`.

    Args:
        captures: one per victim, all of one model spec, training, learning rate and number of examples.
        device: where to compute.
        precision: torch dtype of the computation.
        measure: of the distances, see `attacks.replay.measures`.

    Raises:
        ConfigError: the model cannot be folded.
    """

    name = "replayed together"

    def __init__(
        self, captures: Sequence[CapturedUpdate], *, device: str, precision: torch.dtype, measure: Measure = "squared"
    ) -> None:
        self._clients = _FoldedModule(captures, device=device, dtype=precision)
        steps = local_steps(captures[0])
        self._replay = Replay(captures[0], self._clients, steps, together=True, measure=measure)
        self._observed = {
            name: torch.stack([capture.update[name] for capture in captures]).to(device=device, dtype=precision)
            for name in self._clients.trained
        }

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self._clients.keep(rows)
        self._observed = {name: update[rows] for name, update in self._observed.items()}

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self._clients.replace(row, capture.parameters)
        for name, update in self._observed.items():
            update[row] = capture.update[name].to(update)

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the squared distances of the candidates' updates to the captured ones; differentiable once."""
        found = self._replay.evaluate(inputs.detach(), targets.detach(), self._observed)
        return with_derivatives(inputs, targets, *found)


class _FoldedModule:
    """V models as one function of their parameters, inputs and targets: see `attacks.replay.steps.Trained`.

    Attributes:
        trained: {name: (V, ...)}, the parameters that the clients train, as they were sent.
    """

    tracked: Sequence[str] = ()

    def __init__(self, captures: Sequence[CapturedUpdate], *, device: str, dtype: torch.dtype) -> None:
        first = captures[0]
        self._training = first.training.taken()
        self._fold = Fold(first.model, [one.parameters for one in captures], device=device, dtype=dtype)
        self._sent = {name: tensor.clone() for name, tensor in self._fold.parameters().items()}
        self._names = list(trainable(build_model(first.model), self._training))
        self.trained = {name: self._sent[name] for name in self._names}

    def keep(self, rows: Tensor) -> None:
        """Drop all clients but those at indices `rows`."""
        self._fold.keep(rows)
        self._sent = {name: tensor[rows] for name, tensor in self._sent.items()}
        self.trained = {name: self._sent[name] for name in self._names}

    def replace(self, row: int, parameters: Mapping[str, Tensor]) -> None:
        """Replace the parameters at index `row` by those of another client."""
        for name, tensor in self._sent.items():
            tensor[row] = parameters[name].to(tensor)

    def loss(self, trained: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensors]:
        """Return the sum of the clients' losses, whose derivatives do not mix; there are no running statistics."""
        self._fold.train_at({**self._sent, **trained})
        logits = self._fold.logits(normalised(self._training, inputs))
        return cross_entropies(self._training, logits, targets).sum(), {}

    def statistics(self, name: str) -> Tensor:
        """Fail: what can be folded has no running statistics."""
        raise KeyError(name)

    def momentum(self, name: str, number: int) -> float:
        """Fail: what can be folded has no running statistics."""
        raise KeyError(name, number)
