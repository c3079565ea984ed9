"""The local training of any client, by torch's own optimisers on the user's own module.

It is what a client runs, and the reference that every engine of an attack is compared with.
"""

from __future__ import annotations

import contextlib
import fnmatch
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from fl_sim.client_training import ClientTraining
from fl_sim.losses import client_loss, normalised

Batch = tuple[Tensor, Tensor]
"""Inputs (N, C, H, W), or (T, N, C, H, W) for events, and targets (N, K) as in `fl_sim.losses`."""


def trainable(module: nn.Module, training: ClientTraining) -> dict[str, nn.Parameter]:
    """Return the parameters that the client trains, by name: those that neither the module nor `training` freezes."""
    patterns = (training.frozen or "").split()
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def train_client(
    module: nn.Module, batches: Iterable[Batch], training: ClientTraining, *, learning_rate: float
) -> list[float]:
    """Train the module in place, one step for each batch, and return the losses.

    Args:
        module: holds what the server sent, and the new parameters and buffers afterwards.
        batches: inputs and targets of each step.
        training: how the steps are computed.
        learning_rate: of the optimiser.
    """
    taken = training.taken()
    module.train(taken.mode == "train")
    parameters = trainable(module, taken)
    anchor = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimiser = _optimiser(parameters, taken, learning_rate)
    losses = []
    for inputs, targets in batches:
        optimiser.zero_grad()
        loss = step_loss(module, inputs, targets, taken)
        loss.backward()  # type: ignore[no-untyped-call]
        _add_proximal(parameters, anchor, taken.proximal_mu or 0.0)
        if taken.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters.values(), taken.clip_norm)
        optimiser.step()
        losses.append(loss.item())
    reset_state(module)
    return losses


def client_gradient(module: nn.Module, batch: Batch, training: ClientTraining) -> dict[str, Tensor]:
    """Return the gradient of one batch by parameter name, as a client that shares gradients computes it."""
    taken = training.taken()
    module.train(taken.mode == "train")
    parameters = trainable(module, taken)
    loss = step_loss(module, *batch, taken)
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    reset_state(module)
    gradients = {
        name: torch.zeros_like(parameter) if gradient is None else gradient.detach()
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }
    if taken.clip_norm:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradients.values()]))
        factor = (taken.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        gradients = {name: gradient * factor for name, gradient in gradients.items()}
    return gradients


def step_loss(module: nn.Module, inputs: Tensor, targets: Tensor, training: ClientTraining) -> Tensor:
    """Return the loss of a batch under the client's normalisation, precision and loss; a scalar tensor."""
    reset_state(module)
    with mixed(training, inputs.device.type):
        outputs = module(normalised(training, inputs))
    return client_loss(training, outputs, targets)


@contextlib.contextmanager
def mixed(training: ClientTraining, device: str) -> Iterator[None]:
    """Compute in the client's mixed precision, if it has one."""
    precision = training.precision or "float32"
    with torch.autocast(device, getattr(torch, precision), enabled=precision != "float32"):
        yield


def stateful(module: nn.Module) -> list[str]:
    """Return the names of a module's spiking neurons that keep their state between calls; see `reset_state`."""
    return [name for name, part in module.named_modules() if _resets(part) is not None]


def reset_state(module: nn.Module) -> None:
    """Reset the state of spiking neurons as their library wants it: SpikingJelly's memories, snnTorch's potentials.

    A library that is not imported has no neurons in the module. What else a part keeps of the last forward pass is
    detached from its graph: the graph would hold on to the batch, and torch cannot copy a module that has one.
    """
    for part in module.modules():
        reset = _resets(part)
        if reset is not None:
            reset()
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(part, name, value.detach())


def _resets(part: nn.Module) -> Callable[[], object] | None:
    """Return the function that resets a neuron; None if the part keeps no state, as far as its library says.

    A neuron of snnTorch keeps its last state whether or not it was told to hide it.
    """
    memories = sys.modules.get("spikingjelly.activation_based.base")
    neurons = sys.modules.get("snntorch")
    found: Callable[[], object] | None = None
    if memories is not None and isinstance(part, memories.MemoryModule):
        found = part.reset
    elif neurons is not None and isinstance(part, neurons.SpikingNeuron):
        found = getattr(part, "reset_mem", None) or getattr(part, "reset_hidden", None)
    return found


def _optimiser(
    parameters: Mapping[str, nn.Parameter], taken: ClientTraining, learning_rate: float
) -> torch.optim.Optimizer:
    """Return torch's optimiser of the trained parameters."""
    values, decay = list(parameters.values()), taken.weight_decay or 0.0
    if taken.optimiser == "adam":
        betas = (taken.beta_1 or 0.0, taken.beta_2 or 0.0)
        return torch.optim.Adam(values, learning_rate, betas, taken.epsilon or 1e-8, decay)
    return torch.optim.SGD(
        values, learning_rate, taken.momentum or 0.0, taken.dampening or 0.0, decay, nesterov=bool(taken.nesterov)
    )


def _add_proximal(parameters: Mapping[str, nn.Parameter], anchor: Mapping[str, Tensor], mu: float) -> None:
    """Add the gradient of FedProx's term to the gradients."""
    if mu:
        for name, parameter in parameters.items():
            term = mu * (parameter.detach() - anchor[name])
            parameter.grad = term if parameter.grad is None else parameter.grad + term
