"""The base class of all judges' networks, and the initialisation of their parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.seeding import torch_stream


class JudgeModel(nn.Module):
    """A classifier: `forward` maps inputs, (N, C, H, W) or (T, N, P, H, W), to logits (N, classes).

    Attributes:
        note: remark for readers of its results; "" for none.
        reads_spikes: whether it also reads spikes (T, N, C, H, W) if the data set holds images.
        memory_format: layout of images after training, which affects speed but not the answers.
    """

    note = ""
    reads_spikes = False
    memory_format = torch.contiguous_format

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean training loss of a batch: the cross-entropy, unless overridden."""
        return F.cross_entropy(self(inputs), labels)

    def after_initialisation(self) -> None:
        """Adjust parameters for which the general rule of `build` is not suitable."""


def build(make: Callable[[], JudgeModel], *, seed: int) -> JudgeModel:
    """Return a new model that depends on `seed` alone; no global random state is touched.

    Weights are He-uniform (He et al. 2015), biases zero; normalisation layers start at scale 1 and shift 0.
    """
    with torch.device("meta"):  # so that torch's default initialisation draws nothing
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
