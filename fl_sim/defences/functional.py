"""Defences as formulas: pure functions of a named update, {parameter name: tensor} -> {parameter name: tensor}.

Each returns new tensors with the same names, order, shapes and dtypes and does not modify its argument. None checks for
entries that are not finite; the server rejects an update that contains any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor

Update = Mapping[str, Tensor]


def global_norm(update: Update) -> float:
    """Return the l2 norm of all entries of all tensors together, summed in float64."""
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in update.values()))


def clip(update: Update, *, clipping_norm: float) -> dict[str, Tensor]:
    """Return the update times min(1, C / its l2 norm), whose norm is at most C up to rounding.

    Args:
        update: of any norm; an update of norm at most C is returned bit for bit.
        clipping_norm: C, above 0.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1, which clips the gradient of
    each example; applied to a client's whole update as in Geyer, Klein and Nabi, "Differentially Private Federated
    Learning: A Client Level Perspective", 2017, algorithm 1 (their C is the median norm of a round's clients; here it
    is a setting).
    """
    norm = global_norm(update)
    factor = min(1.0, clipping_norm / norm) if norm else 1.0
    return {name: tensor * factor for name, tensor in update.items()}


def noise(update: Update, *, clipping_norm: float, noise_multiplier: float, generator: Generator) -> dict[str, Tensor]:
    """Return the update clipped to C, with Gaussian noise N(0, (sigma C)^2) added to every entry.

    The mechanism is that of local differential privacy; what it claims depends on how often a client takes part, see
    `fl_sim.defences.accounting.noise_claim`.

    Args:
        update: of any norm.
        clipping_norm: C, above 0.
        noise_multiplier: sigma, at least 0.
        generator: a CPU generator. The noise is drawn for the tensors in the order of their sorted names, so that the
            order in which the update holds them does not matter.

    Source: as for `clip`; applied on the client as in Flower's `LocalDpMod`, which parametrises the noise by epsilon
    and delta and draws it from NumPy's global generator.
    """
    clipped = clip(update, clipping_norm=clipping_norm)
    deviation = noise_multiplier * clipping_norm
    drawn = {name: _standard_normal(clipped[name], generator) for name in sorted(clipped)}
    return {name: tensor + deviation * drawn[name] for name, tensor in clipped.items()}


def prune(update: Update, *, prune_ratio: float) -> dict[str, Tensor]:
    """Return the update with the smallest entries of each tensor, by magnitude, set to 0.

    Args:
        update: tensors of n entries each.
        prune_ratio: p in [0, 1]; floor(p n) entries become 0, the first ones among entries of equal magnitude.

    Source: Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019, section 5.2 (gradient compression).
    """
    return {name: _pruned(tensor, prune_ratio) for name, tensor in update.items()}


def quantise(update: Update, *, bits: int) -> dict[str, Tensor]:
    """Return each tensor rounded to the nearest of 2^b - 1 evenly spaced values from -max|x| to max|x|, including 0.

    The step is max|x| / (2^(b-1) - 1), so no entry changes by more than half of it; ties are rounded to the even
    multiple.

    Args:
        update: of any norm.
        bits: b, at least 2.

    Source: Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019, section 5.1 (Int-8). They do not state their
    scale; this is the usual symmetric scale for each tensor.
    """
    return {name: _quantised(tensor, bits) for name, tensor in update.items()}


def _standard_normal(like: Tensor, generator: Generator) -> Tensor:
    """Return draws from N(0, 1) with the shape, dtype and device of a tensor; they are drawn on the CPU."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def _pruned(tensor: Tensor, prune_ratio: float) -> Tensor:
    kept = tensor.flatten().clone()
    count = math.floor(prune_ratio * kept.numel() + 1e-9)  # 0.29 * 100 is a little less than 29
    kept[kept.abs().argsort(stable=True)[:count]] = 0
    return kept.reshape(tensor.shape)


def _quantised(tensor: Tensor, bits: int) -> Tensor:
    exact = tensor.double()
    step = float(exact.abs().max()) / (2 ** (bits - 1) - 1) if tensor.numel() else 0.0
    if step == 0:
        return tensor.clone()
    return ((exact / step).round() * step).to(tensor.dtype)
