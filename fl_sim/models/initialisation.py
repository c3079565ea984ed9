"""Initialisation of a model's parameters. Gradient leakage depends on it, so every table states it."""

from __future__ import annotations

import torch
from torch import nn

from fl_sim.errors import unknown_name
from fl_sim.seeding import derive_seed, torch_stream

INITS = ("uniform", "torch")


def initialise(model: nn.Module, init: str, *, seed: int) -> None:
    """Draw the model's parameters in place.

    Args:
        model: any module.
        init: "uniform" draws every weight and bias from U(-0.5, 0.5), as in the published code of DLG, iDLG and GRNN
            (Zhu et al. 2019); "torch" calls each layer's own `reset_parameters`.
        seed: seed of the draw; the global random state is not changed.

    Raises:
        ConfigError: `init` is not known.
    """
    if init not in INITS:
        raise unknown_name("model.init", init, INITS)
    if init == "uniform":
        generator = torch_stream(seed, "init")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "init"))
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
