"""The local training of a client: a gradient or steps of SGD. Used by the client app, the judges and the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, ModelSpec
from fl_sim.tokens import as_read

Parameters = dict[str, Tensor]
GradientOf = Callable[[nn.Module, Tensor, Tensor], tuple[Parameters, Tensor]]
"""(model, inputs, labels) -> the gradient of a step by parameter name, and the loss; see `gradient_and_loss`."""


def parameters_of(model: nn.Module) -> Parameters:
    """Return a detached copy of the model's parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def load_parameters(model: nn.Module, parameters: Mapping[str, Tensor], *, partly: bool = False) -> None:
    """Copy parameters into the model, cast to its dtype (some server strategies send float64).

    Args:
        model: the model.
        parameters: {name: tensor}.
        partly: whether some may be missing, which stay as they are.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in parameters or not partly:
                parameter.copy_(parameters[name])


def gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> Parameters:
    """Return the gradient of the mean cross-entropy of a batch, by parameter name.

    Args:
        model: returns logits (N, classes).
        inputs: (N, C, H, W), or (T, N, C, H, W) for events.
        labels: (N,).
    """
    return gradient_and_loss(model, inputs, labels)[0]


def gradient_and_loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
    """Return the result of `gradient` and the loss, a scalar tensor, from one forward pass."""
    names, tensors = zip(*model.named_parameters(), strict=True)
    loss = F.cross_entropy(model(inputs), labels)
    gradients = torch.autograd.grad(loss, tensors)
    return dict(zip(names, (tensor.detach() for tensor in gradients), strict=True)), loss.detach()


def local_sgd(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    learning_rate: float,
    proximal_mu: float = 0.0,
    gradient_of: GradientOf = gradient_and_loss,
) -> float:
    """Take one plain SGD step on each batch, in place, and return the mean loss.

    Args:
        model: holds the parameters that the server sent, and the new ones afterwards.
        batches: (inputs, labels) of each step.
        learning_rate: step size.
        proximal_mu: weight of FedProx's term mu/2 |w - w_server|^2 (Li et al. 2020, MLSys, eq. 2).
        gradient_of: how the gradient of a step is computed, such as by a defence.
    """
    anchor = parameters_of(model)
    losses = []
    for inputs, labels in batches:
        gradients, loss = gradient_of(model, inputs, labels)
        losses.append(loss.item())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                step = gradients[name] + proximal_mu * (parameter - anchor[name])
                parameter.sub_(learning_rate * step)
    return sum(losses) / len(losses)


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Return the share of inputs whose largest logit is that of their label, in [0, 1]."""
    right = 0
    examples = 1 if inputs.dim() == 5 else 0
    parts = torch.split(inputs, batch_size, examples), torch.split(labels, batch_size)
    for part, part_labels in zip(*parts, strict=True):
        right += int((model(part).argmax(dim=-1) == part_labels).sum())
    return right / len(labels)


def capture_gradient(
    model_spec: ModelSpec,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    *,
    capture_id: str = "solo/r001-c000",
) -> CapturedUpdate:
    """Return what a curious server would capture of one FedSGD client, without running a federation.

    Args:
        model_spec: specification of the model.
        parameters: {name: tensor} that the server sent.
        inputs: (N, C, H, W), the client's batch; texts in their one-hot form (N, 1, L, V).
        labels: (N,).
        capture_id: FEDERATION/rRRR-cCCC.
    """
    model = build_model(model_spec).to(next(iter(parameters.values())).dtype)
    load_parameters(model, parameters)
    return CapturedUpdate(
        id=capture_id,
        round=1,
        client=0,
        model=model_spec,
        parameters={name: tensor.detach().clone() for name, tensor in parameters.items()},
        update=gradient(model, as_read(inputs, model_spec.input), labels),
        kind="gradient",
        local_steps=1,
        batch_size=len(labels),
        num_examples=len(labels),
    )
