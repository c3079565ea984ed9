"""The replay of clients' local steps, and the derivative of its distance by the adjoint method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attacks.replay.measures import Measure, cosine_distance
from attacks.replay.module import Tensors
from attacks.replay.steps import State, Trained, gradients, start, step
from fl_sim.client_training import ClientTraining
from fl_sim.observed import Steps
from fl_sim.records import CapturedUpdate

Batch = tuple[Tensor, Tensor]


class Replay:
    """The replay of one client, or of V clients side by side whose tensors have an axis of length V in front.

    Args:
        capture: of one of the clients, which share their training, learning rate and steps.
        client: its module.
        steps: the examples of each local step.
        together: whether there is an axis of clients.
        measure: of the distance, see `attacks.replay.measures`.
    """

    def __init__(
        self,
        capture: CapturedUpdate,
        client: Trained,
        steps: Steps,
        *,
        together: bool = False,
        measure: Measure = "squared",
    ) -> None:
        self._client, self._steps, self._together, self._measure = client, steps, together, measure
        self._training: ClientTraining = capture.training.taken()
        self._is_gradient = capture.kind == "gradient"
        self._rate = 1.0 if self._is_gradient else capture.learning_rate or 1.0

    def evaluate(self, inputs: Tensor, targets: Tensor, observed: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        """Return the squared distance, or (V,), and its derivatives with respect to inputs and targets."""
        states = self._states(inputs, targets)
        slopes = torch.zeros_like(inputs), torch.zeros_like(targets)
        number = len(self._steps)
        batch, before = self._batch(inputs, targets, number), states[-1].leaves()
        final = self._step(before, batch, number)
        loss = self._distance(final, observed)
        behind = self._pull_back(loss.sum(), before, batch, number, slopes)
        for number in range(len(self._steps) - 1, 0, -1):
            batch, before = self._batch(inputs, targets, number), states[number - 1].leaves()
            after = self._step(before, batch, number).tensors()
            inner = torch.stack([(one * slope).sum() for one, slope in zip(after, behind, strict=True)]).sum()
            behind = self._pull_back(inner, before, batch, number, slopes)
        return loss.detach(), *slopes

    def ended(self, inputs: Tensor, targets: Tensor, observed: Tensors) -> tuple[Tensor, Tensors]:
        """Return the squared distance without derivatives, and how far each trained parameter has moved.

        A shared gradient moves the parameters by its negative.
        """
        number = len(self._steps)
        before = self._states(inputs, targets)[-1]
        after = self._step(before, self._batch(inputs, targets, number), number, graph=False)
        final = after.with_tensors([tensor.detach() for tensor in after.tensors()])
        return self._distance(final, observed), final.moved

    def _states(self, inputs: Tensor, targets: Tensor) -> list[State]:
        """Return the states before each step."""
        states = [start(self._client, self._training)]
        for number in range(1, len(self._steps)):
            after = self._step(states[-1], self._batch(inputs, targets, number), number, graph=False)
            states.append(after.with_tensors([tensor.detach() for tensor in after.tensors()]))
        return states

    def _batch(self, inputs: Tensor, targets: Tensor, number: int) -> Batch:
        """Return the batch of a step as leaves."""
        index = torch.tensor(self._steps[number - 1], device=inputs.device)
        pairs = zip((inputs, targets), _axes(inputs, targets), strict=True)
        examples, wanted = (part.index_select(axis, index).requires_grad_() for part, axis in pairs)
        return examples, wanted

    def _step(self, state: State, batch: Batch, number: int, *, graph: bool = True) -> State:
        """Return the state after a step; a shared gradient is the step of an SGD with learning rate 1."""
        if self._is_gradient:
            gradient, _ = gradients(self._client, self._training, state.moved, *batch)
            return State({name: -value for name, value in gradient.items()}, {}, {}, {})
        rate = self._rate
        return step(self._client, self._training, state, batch, learning_rate=rate, number=number, graph=graph)

    def _distance(self, final: State, observed: Tensors) -> Tensor:
        """Return the squared distance in units of the gradient: that of -delta / (lr S) for S steps.

        Running statistics are compared as what one batch saw, that is, their change is divided by its weight.
        """
        scale = -1.0 if self._is_gradient else -1.0 / (self._rate * len(self._steps))
        wanted = -1.0 if self._is_gradient else 1.0
        shared = {name: value for name, value in final.moved.items() if name in observed}  # of what it trains
        if self._measure in ("cosine", "layer_cosine"):
            wanted_of = {name: wanted * observed[name] for name in shared}
            return cosine_distance(shared, wanted_of, self._summed, by_layer=self._measure == "layer_cosine")
        weights = self.weights({name: observed[name] for name in shared}) if self._measure == "weighted" else {}
        terms = [
            weights.get(name, 1.0) * self._summed((scale * (value - wanted * observed[name])).square())
            for name, value in shared.items()
        ]
        for name, value in final.statistics.items():
            if name in observed:
                weight = self._client.momentum(name.rpartition(".")[0], 1)
                change = value - self._client.statistics(name) - observed[name]
                terms.append(self._summed((change / weight).square()))
        return torch.stack(terms).sum(0)

    def weights(self, observed: Tensors) -> Tensors:
        """Return |update| / |tensor| for each tensor of an update, which makes up for half of their different sizes."""
        squares = {name: self._summed(value.square()) for name, value in observed.items()}
        total = torch.stack(list(squares.values())).sum(0)
        return {name: torch.where(square > 0, total / square, 1.0).sqrt() for name, square in squares.items()}

    def _summed(self, squares: Tensor) -> Tensor:
        """Return the sum over everything but the axis of clients."""
        return squares.flatten(1).sum(1) if self._together else squares.sum()

    def _pull_back(
        self, value: Tensor, before: State, batch: Batch, number: int, slopes: tuple[Tensor, Tensor]
    ) -> list[Tensor]:
        """Add the derivatives of `value` to the slopes of a step's batch; return those of the state before it."""
        leaves = [*batch, *before.tensors()]
        found = torch.autograd.grad(value, leaves, allow_unused=True)
        filled = [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]
        index = torch.tensor(self._steps[number - 1], device=batch[0].device)
        for slope, axis, one in zip(slopes, _axes(*batch), filled[:2], strict=True):
            slope.index_add_(axis, index, one)
        return filled[2:]


def with_derivatives(
    inputs: Tensor, targets: Tensor, losses: Tensor, for_inputs: Tensor, for_targets: Tensor
) -> Tensor:
    """Return losses (V,) whose derivatives with respect to inputs and targets are known already, with a graph."""
    result: Tensor = _Evaluated.apply(inputs, targets, losses, for_inputs, for_targets)
    return result


def _axes(inputs: Tensor, targets: Tensor) -> tuple[int, int]:
    """Return the axes of examples in inputs (..., N, C, H, W) and targets (..., N, K)."""
    return inputs.dim() - 4, targets.dim() - 2


class _Evaluated(Function):
    """Losses whose derivatives with respect to inputs and targets are known already."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - as torch passes it
        inputs: Tensor,  # noqa: ARG004
        targets: Tensor,  # noqa: ARG004
        losses: Tensor,
        for_inputs: Tensor,
        for_targets: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(for_inputs, for_targets)
        return losses

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # noqa: ANN401
        for_inputs, for_targets = ctx.saved_tensors

        def scaled(derivative: Tensor) -> Tensor:
            return slopes[0].view(-1, *(1,) * (derivative.dim() - 1)) * derivative

        return scaled(for_inputs), scaled(for_targets), None, None, None
