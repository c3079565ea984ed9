"""One optimiser step of a client as a differentiable function of its state, its batch and its targets.

The state is the displacement of each trained parameter from what was sent, the optimiser's moments, and the running
statistics of the norms. Displacements, not parameters, so that the update of a single step is free of cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attacks.replay.module import Tensors
from fl_sim.client_training import ClientTraining

_CLIP_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class Trained(Protocol):
    """A module whose loss is a function of parameters, inputs and targets; see `attacks.replay.module.ClientModule`."""

    trained: Tensors

    @property
    def tracked(self) -> Sequence[str]:
        """Return the names of the norms whose running statistics the update shares."""
        ...

    def loss(self, trained: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensors]:
        """Return the loss of a batch, and what the tracked norms see."""
        ...

    def statistics(self, name: str) -> Tensor:
        """Return a running statistic as it was sent."""
        ...

    def momentum(self, name: str, number: int) -> float:
        """Return the weight of batch `number`, from 1, in the statistics of a norm."""
        ...


@dataclass(frozen=True)
class State:
    """The state of a client between two steps.

    Attributes:
        moved: {name: tensor}, each trained parameter minus what was sent.
        first, second: {name: tensor}, SGD's momentum buffers, or Adam's moments; empty where there are none.
        statistics: {name: tensor}, running statistics of the tracked norms.
    """

    moved: Tensors
    first: Tensors
    second: Tensors
    statistics: Tensors

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        return [tensor for part in vars(self).values() for tensor in part.values()]

    def with_tensors(self, tensors: list[Tensor]) -> State:
        """Return this state with other tensors in the order of `tensors()`."""
        remaining = iter(tensors)
        return State(**{key: {name: next(remaining) for name in part} for key, part in vars(self).items()})

    def leaves(self) -> State:
        """Return a copy whose tensors require gradients and have no history."""
        return self.with_tensors([tensor.detach().requires_grad_() for tensor in self.tensors()])


def start(client: Trained, training: ClientTraining) -> State:
    """Return the state before the first step."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in client.trained.items()}
    adam = training.optimiser == "adam"
    statistics = {
        name: client.statistics(name)
        for norm in client.tracked
        for name in (f"{norm}.running_mean", f"{norm}.running_var")
    }
    return State(zeros, dict(zeros) if adam or training.momentum else {}, dict(zeros) if adam else {}, statistics)


def gradients(
    client: Trained,
    training: ClientTraining,
    moved: Mapping[str, Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    graph: bool = True,
) -> tuple[Tensors, Tensors]:
    """Return the gradient of a step as the optimiser sees it, after penalties and clipping, and what the norms saw."""
    trained = {name: sent + moved[name] for name, sent in client.trained.items()}
    trained = {name: value if value.requires_grad else value.requires_grad_() for name, value in trained.items()}
    loss, seen = client.loss(trained, inputs, targets)
    found = torch.autograd.grad(loss, list(trained.values()), create_graph=graph, allow_unused=True)
    result = {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(trained.items(), found, strict=True)
    }
    if training.proximal_mu:
        result = {name: gradient + training.proximal_mu * moved[name] for name, gradient in result.items()}
    if training.clip_norm:
        norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in result.values()]))
        factor = (training.clip_norm / (norm + _CLIP_EPSILON)).clamp(max=1.0)
        result = {name: gradient * factor for name, gradient in result.items()}
    if training.weight_decay:
        result = {name: gradient + training.weight_decay * trained[name] for name, gradient in result.items()}
    return result, seen


def step(
    client: Trained,
    training: ClientTraining,
    state: State,
    batch: tuple[Tensor, Tensor],
    *,
    learning_rate: float,
    number: int,
    graph: bool = True,
) -> State:
    """Return the state after one step.

    Args:
        client: the module.
        training: how a step is computed, with every field known.
        state: before the step.
        batch: inputs and targets.
        learning_rate: of the optimiser.
        number: of the step, from 1.
        graph: whether the result must be differentiable.
    """
    gradient, seen = gradients(client, training, state.moved, *batch, graph=graph)
    if training.optimiser == "adam":
        moved, first, second = _adam(training, state, gradient, learning_rate, number)
    else:
        moved, first, second = _sgd(training, state, gradient, learning_rate, number)
    return State(moved, first, second, _tracked(client, state.statistics, seen, number))


def _sgd(
    training: ClientTraining, state: State, gradient: Tensors, rate: float, number: int
) -> tuple[Tensors, Tensors, Tensors]:
    """Return torch's SGD: buffer = momentum buffer + (1 - dampening) g, and just g in the first step."""
    momentum, dampening = training.momentum or 0.0, training.dampening or 0.0
    first, direction = {}, gradient
    if momentum:
        first = {
            name: g if number == 1 else momentum * state.first[name] + (1.0 - dampening) * g
            for name, g in gradient.items()
        }
        direction = {name: g + momentum * first[name] for name, g in gradient.items()} if training.nesterov else first
    return {name: state.moved[name] - rate * value for name, value in direction.items()}, first, {}


def _adam(
    training: ClientTraining, state: State, gradient: Tensors, rate: float, number: int
) -> tuple[Tensors, Tensors, Tensors]:
    """Return torch's Adam (Kingma and Ba 2015, algorithm 1)."""
    one, two, epsilon = training.beta_1 or 0.0, training.beta_2 or 0.0, training.epsilon or 1e-8
    first = {name: one * state.first[name] + (1.0 - one) * g for name, g in gradient.items()}
    second = {name: two * state.second[name] + (1.0 - two) * g.square() for name, g in gradient.items()}
    moved = {}
    for name in gradient:
        # The root has no derivative at 0, where Adam does not move.
        spread = second[name] / (1.0 - two**number)
        root = torch.where(spread > 0, spread, 1.0).sqrt() * (spread > 0)
        moved[name] = state.moved[name] - rate * first[name] / (1.0 - one**number) / (root + epsilon)
    return moved, first, second


def _tracked(client: Trained, statistics: Tensors, seen: Tensors, number: int) -> Tensors:
    """Return the running statistics after a step."""
    result = {}
    for name, value in statistics.items():
        weight = client.momentum(name.rpartition(".")[0], number)
        result[name] = (1.0 - weight) * value + weight * seen[name]
    return result
