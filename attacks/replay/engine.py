"""The matching loss of any torch module: the client's local steps are replayed, one victim after another.

The derivative goes back through the steps one at a time (adjoint method): only the states between steps are kept, and
the graph of one step exists at a time, so that memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attacks.replay.module import ClientModule, Tensors
from attacks.replay.steps import State, gradients, start, step
from fl_sim.client_training import ClientTraining
from fl_sim.observed import Steps, local_steps
from fl_sim.records import CapturedUpdate

Batch = tuple[Tensor, Tensor]


class ReplayedClients:
    """V clients whose training is replayed by their own module; see `attacks.engines.Engine`.

    Args:
        captures: one per victim, all of one model spec, training and number of examples.
        device: where to compute.
        precision: torch dtype of the computation.
        steps: the examples of each local step; by default as an attack takes them, see `local_steps`.

    Raises:
        ConfigError: an update is a delta, and its learning rate or number of steps is not known.
    """

    name = "replayed"

    def __init__(
        self, captures: Sequence[CapturedUpdate], *, device: str, precision: torch.dtype, steps: Steps | None = None
    ) -> None:
        self._captures, self._steps = list(captures), steps or local_steps(captures[0])
        self._device, self._precision = device, precision
        self._client = ClientModule(captures[0], device=device, dtype=precision)
        self._targets = [self._target(capture) for capture in captures]
        self._replay, self._loaded = _Replay(captures[0], self._client, self._steps), 0

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self._captures = [self._captures[row] for row in rows.tolist()]
        self._targets = [self._targets[row] for row in rows.tolist()]
        self._loaded = -1

    def replace(self, row: int, capture: CapturedUpdate) -> None:
        """Replace the victim at index `row`."""
        self._captures[row], self._targets[row] = capture, self._target(capture)
        self._loaded = -1

    def distances(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return (V,), the squared distances of the candidates' updates to the captured ones; differentiable once."""
        victims = [
            self._evaluate(victim, inputs[victim].detach(), targets[victim].detach()) for victim in range(len(inputs))
        ]
        losses, for_inputs, for_targets = (torch.stack(parts) for parts in zip(*victims, strict=True))
        result: Tensor = _Evaluated.apply(inputs, targets, losses, for_inputs, for_targets)
        return result

    def _target(self, capture: CapturedUpdate) -> Tensors:
        """Return what the replayed update must equal: the change of each trained parameter and running statistic."""
        update = capture.update
        names = [name for name in self._client.trained if name in update]
        observed = {name: update[name].to(device=self._device, dtype=self._precision) for name in names}
        for norm in self._client.tracked if capture.kind == "delta" else ():
            for name in (f"{norm}.running_mean", f"{norm}.running_var"):
                if name in update:
                    observed[name] = update[name].to(device=self._device, dtype=self._precision)
        return observed

    def _evaluate(self, victim: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance of one victim, and its derivatives with respect to inputs and targets."""
        if self._loaded != victim:
            self._client.load(self._captures[victim].parameters)
            self._replay = _Replay(self._captures[victim], self._client, self._steps)
            self._loaded = victim
        return self._replay.evaluate(inputs, targets, self._targets[victim])


class _Replay:
    """The replay of one client."""

    def __init__(self, capture: CapturedUpdate, client: ClientModule, steps: Steps) -> None:
        self._client, self._steps = client, steps
        self._training: ClientTraining = capture.training.taken()
        self._is_gradient = capture.kind == "gradient"
        self._rate = 1.0 if self._is_gradient else capture.learning_rate or 1.0

    def evaluate(self, inputs: Tensor, targets: Tensor, observed: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        """Return the squared distance and its derivatives with respect to inputs and targets."""
        states = self._states(inputs, targets)
        slopes = torch.zeros_like(inputs), torch.zeros_like(targets)
        number = len(self._steps)
        batch, before = self._batch(inputs, targets, number), states[-1].leaves()
        final = self._step(before, batch, number)
        loss = self._distance(final, observed)
        behind = self._pull_back(loss, before, batch, number, slopes)
        for number in range(len(self._steps) - 1, 0, -1):
            batch, before = self._batch(inputs, targets, number), states[number - 1].leaves()
            after = self._step(before, batch, number).tensors()
            inner = torch.stack([(one * slope).sum() for one, slope in zip(after, behind, strict=True)]).sum()
            behind = self._pull_back(inner, before, batch, number, slopes)
        return loss.detach(), *slopes

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
        axis = inputs.dim() - 4
        return inputs.index_select(axis, index).requires_grad_(), targets[index].requires_grad_()

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
        terms = [
            (scale * (value - wanted * observed[name])).square().sum()
            for name, value in final.moved.items()
            if name in observed  # a client may share a part of what it trains
        ]
        for name, value in final.statistics.items():
            if name in observed:
                weight = self._client.momentum(name.rpartition(".")[0], 1)
                change = value - self._client.statistics(name) - observed[name]
                terms.append((change / weight).square().sum())
        return torch.stack(terms).sum()

    def _pull_back(
        self, value: Tensor, before: State, batch: Batch, number: int, slopes: tuple[Tensor, Tensor]
    ) -> list[Tensor]:
        """Add the derivatives of `value` to the slopes of a step's batch; return those of the state before it."""
        leaves = [*batch, *before.tensors()]
        found = torch.autograd.grad(value, leaves, allow_unused=True)
        filled = [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]
        index = torch.tensor(self._steps[number - 1], device=batch[0].device)
        slopes[0].index_add_(batch[0].dim() - 4, index, filled[0])
        slopes[1].index_add_(0, index, filled[1])
        return filled[2:]


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
