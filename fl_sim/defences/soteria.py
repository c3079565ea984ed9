"""Soteria: the gradient of the last linear layer lacks the features of the representation that tell most."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fl_sim.errors import ConfigError

_OFFSET = 0.1
"""Added to a feature before it divides; from the published code."""

_AT_ONCE = 64
"""Features whose slopes are computed together, which bounds the memory."""


def soteria(
    model: nn.Module, inputs: Tensor, labels: Tensor, *, generator: Generator, representation_ratio: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of the mean cross-entropy with a perturbed representation, and the loss.

    The representation r is what the last linear layer reads. For each feature, |dr_i/dx| / (r_i + 0.1) is summed over
    the examples; the features with the smallest values change most of the input for the least change of r, and the
    columns that they have in the gradient of that layer's weight become 0. All other gradients are as they are.

    Args:
        model: returns logits (N, classes).
        inputs: (N, C, H, W).
        labels: (N,).
        generator: not used, since nothing is drawn.
        representation_ratio: share of the features that are perturbed, in [0, 1].

    Raises:
        ConfigError: no linear layer of the model reads one vector for each example.

    Source: Sun et al., "Soteria: Provable Defense against Privacy Leakage in Federated Learning from Representation
    Perspective", CVPR 2021, section 4, with the offset and the mask on the weight alone of the published code
    (GS_attack/reconstruct_image.py), which takes the l0 norm as the paper does.
    """
    del generator
    name, layer = _last_linear(model)
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _module, read: seen.append(read[0]))
    known = inputs.detach().requires_grad_()
    try:
        loss = F.cross_entropy(model(known), labels)
    finally:
        handle.remove()
    features = seen[-1]
    if len(seen) != 1 or features.dim() != 2 or len(features) != len(labels):
        raise ConfigError(
            f"defence 'soteria': expected the layer '{name}' to read one vector for each of {len(labels)} examples, "
            f"got {len(seen)} inputs of the shape {tuple(features.shape)}."
        )
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    found = {key: tensor.detach() for key, tensor in zip(names, gradients, strict=True)}
    scores = _scores(features, known)
    count = math.floor(representation_ratio * len(scores) + 1e-9)
    kept = torch.ones_like(scores)
    kept[scores.argsort(stable=True)[:count]] = 0
    weight = f"{name}.weight".removeprefix(".")
    found[weight] = found[weight] * kept
    return found, loss.detach()


def _scores(features: Tensor, inputs: Tensor) -> Tensor:
    """Return (F,) the sum over examples of |dr_i/dx| / |r_i + 0.1| for features (N, F) of inputs (N, ...)."""
    directions = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    norms = []
    for part in torch.split(directions, _AT_ONCE):
        along = part.unsqueeze(1).expand(-1, *features.shape)
        (slopes,) = torch.autograd.grad(features, inputs, along, retain_graph=True, is_grads_batched=True)
        norms.append(slopes.flatten(2).norm(dim=2))
    return (torch.cat(norms).T / (features.detach() + _OFFSET).abs()).sum(0)


def _last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the last linear layer of a model, in the order of its modules, and its name."""
    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ConfigError("defence 'soteria': expected a model with a linear layer, whose input it perturbs, got none.")
    return layers[-1]
