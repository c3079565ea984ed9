"""Normalisations with running statistics, which are part of a model's state and have no gradient."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

STATISTICS = ("running_mean", "running_var")
"""Without the counter of batches, which only a cumulative mean reads: that one begins anew at each client."""


def normalisations(model: nn.Module) -> Iterator[tuple[str, _NormBase]]:
    """Yield (prefix, layer) of each batch or instance normalisation of torch's; "1.weight" is its prefix and a name."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase):
            yield (f"{name}." if name else ""), module


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a detached copy of the running means and variances, {"1.running_mean": (C,), ...}."""
    found = {}
    for prefix, module in normalisations(model):
        for key in STATISTICS:
            value = getattr(module, key)
            if value is not None:
                found[f"{prefix}{key}"] = value.detach().clone()
    return found


def load_state(model: nn.Module, tensors: Mapping[str, Tensor], names: Collection[str]) -> None:
    """Copy those tensors whose names are among `names` into the model's parameters and buffers of the same names."""
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in names:
            if name in tensors and name in state:
                state[name].copy_(tensors[name])


def set_to_test(model: nn.Module, known: Collection[str]) -> None:
    """Put a model into eval mode, but for normalisations of unknown statistics: these take those of the test batch.

    Args:
        model: the model, whose further normalisations keep what they see of the tests.
        known: names of the tensors that were loaded.
    """
    model.eval()
    for prefix, module in normalisations(model):
        module.train(f"{prefix}{STATISTICS[0]}" not in known and module.running_mean is not None)
