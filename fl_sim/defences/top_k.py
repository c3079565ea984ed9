"""Top-k sparsification with error feedback: what is not shared in a round is added to the next update."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def top_k(
    update: Mapping[str, Tensor], memory: Mapping[str, Tensor], *, keep_ratio: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the k largest entries by magnitude of update plus memory, with 0 elsewhere, and the memory of the rest.

    Args:
        update: tensors of n entries together.
        memory: what earlier rounds left unshared, by the same names; {} in the first.
        keep_ratio: k / n in (0, 1]; k is rounded up, so that at least one entry is shared. Of entries of equal
            magnitude the first are shared.

    Returns:
        (shared, memory); their sum is update plus memory exactly.

    Source: Stich, Cordonnier and Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, algorithm 1, with top-k over the
    whole update; gradient dropping of Aji and Heafield, EMNLP 2017.
    """
    total = {name: tensor + memory[name] if name in memory else tensor.clone() for name, tensor in update.items()}
    sizes = torch.cat([tensor.double().abs().flatten() for tensor in total.values()])
    count = math.ceil(keep_ratio * sizes.numel() - 1e-9)
    kept = torch.zeros(sizes.numel(), dtype=torch.bool)
    kept[sizes.argsort(descending=True, stable=True)[:count]] = True
    parts = dict(zip(total, torch.split(kept, [tensor.numel() for tensor in total.values()]), strict=True))
    shared = {name: tensor.where(parts[name].view(tensor.shape), 0) for name, tensor in total.items()}
    left = {name: tensor.where(~parts[name].view(tensor.shape), 0) for name, tensor in total.items()}
    return shared, left
