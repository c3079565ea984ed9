"""The derivative that every attack by matching gradients needs: that of a client's gradient, by its input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from fl_sim.client_steps import step_loss, trainable
from tests.zoo.clients import targets_for
from tests.zoo.entries import ZooEntry

HARD_SIGMOIDS = (F.hardsigmoid, torch._C._nn.hardsigmoid, torch._C._nn.hardsigmoid_)


class _WrittenOut(TorchFunctionMode):
    """Computes torch's hard sigmoid from operations that have a second derivative."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in HARD_SIGMOIDS:
            return F.relu6(args[0] + 3.0) / 6.0
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def second_derivatives() -> Iterator[None]:
    """Choose operations that torch can differentiate twice, for attention and for the hard sigmoid of MobileNetV3."""
    with sdpa_kernel(SDPBackend.MATH), _WrittenOut():
        yield


def derivative_of_gradient(entry: ZooEntry, module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the derivative of the squared norm of a client's gradient.

    Args:
        entry: the network and how its client trains; its mode is set.
        module: of the entry.
        inputs: (N, C, H, W), (T, N, C, H, W) or tokens (N, length).
        labels: (N,).

    Returns:
        The derivative by the inputs, of their shape; by the one-hot tokens (N, length, vocabulary) for tokens.
    """
    taken = entry.training.taken()
    module.train(taken.mode == "train")
    with contextlib.ExitStack() as stack:
        if entry.input.vocabulary:
            unknown = F.one_hot(inputs, entry.input.vocabulary).float().requires_grad_()
            stack.callback(_relax(module, inputs, unknown))
        else:
            unknown = inputs = inputs.clone().requires_grad_()
        loss = step_loss(module, inputs, targets_for(entry, labels), taken)
        gradient = torch.autograd.grad(loss, list(trainable(module, taken).values()), create_graph=True)
        norm = torch.stack([part.square().sum() for part in gradient]).sum()
        return torch.autograd.grad(norm, unknown)[0]


def _relax(module: nn.Module, tokens: Tensor, one_hot: Tensor) -> Callable[[], None]:
    """Let the embeddings of these tokens be computed from their one-hot form; return what ends it."""

    def look_up(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if inputs[0] is not tokens:
            return output  # positions
        found = one_hot @ layer.get_parameter("weight")
        return found.mean(1) if isinstance(layer, nn.EmbeddingBag) else found

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Embedding | nn.EmbeddingBag)]
    handles = [layer.register_forward_hook(look_up) for layer in layers]

    def end() -> None:
        for handle in handles:
            handle.remove()

    return end
