"""What every judge's network offers to its training, and how its parameters are drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.seeding import torch_stream


class JudgeModel(nn.Module):
    """A classifier: `forward` maps inputs, (N, C, H, W) or (T, N, P, H, W), to logits (N, classes).

    Attributes:
        note: what a reader of its results should know of this one; "" for nothing.
        reads_spikes: whether it reads spikes (T, N, C, H, W) too where the data set holds images.
        memory_format: layout of its images once it is trained; a layout that is faster gives the same answers.
    """

    note = ""
    reads_spikes = False
    memory_format = torch.contiguous_format

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch that training makes small: the cross-entropy, unless overridden."""
        return F.cross_entropy(self(inputs), labels)

    def after_initialisation(self) -> None:
        """Change what the general rule of `build` does not fit."""


def build(make: Callable[[], JudgeModel], *, seed: int) -> JudgeModel:
    """Return a fresh model, drawn from `seed` alone; no global random stream is touched.

    Weights are He-uniform (He et al. 2015), biases zero; normalisation layers start at scale 1 and shift 0.
    """
    with torch.device("meta"):  # so that torch's own initialisation draws nothing
        model = make()
    model.to_empty(device="cpu")
    generator = torch_stream(seed, "judge", "initialisation")
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_parameters()
    model.after_initialisation()
    return model
