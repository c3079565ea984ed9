"""SpikingJelly's first spike, quickly and quietly where no GPU can use its kernels."""

from __future__ import annotations

import logging
import sys

import torch
from spikingjelly.activation_based import neuron

_SEARCH = "torch._library.triton"
"""The logger of torch's search for Triton kernels, which warns four times where Triton is not installed."""


def fire_first_spike() -> None:
    """Let SpikingJelly register the operators of its IF and LIF neurons, which it does when they first fire.

    To find their Triton kernels, torch imports its compiler: 2 to 5 seconds of each process. Without a GPU no kernel
    could run, so that they are registered as on a machine without Triton. The operators on the CPU are the same.
    """
    if torch.cuda.is_available():
        return
    search = logging.getLogger(_SEARCH)
    disabled, search.disabled = search.disabled, True
    hidden = "triton" not in sys.modules
    if hidden:
        sys.modules["triton"] = None  # type: ignore[assignment]  # an import of it then fails as if it were not there
    try:
        for layer in (neuron.IFNode(step_mode="m"), neuron.LIFNode(step_mode="m")):
            layer(torch.zeros(1, 1))
    finally:
        search.disabled = disabled
        if hidden:
            del sys.modules["triton"]
