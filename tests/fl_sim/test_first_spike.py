"""SpikingJelly's first spike imports no compiler, warns of nothing and is the same spike."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, SpikingJelly looks for its kernels")

_COMMON = """
import json, sys, torch
from spikingjelly.activation_based import neuron, surrogate
{before}
currents = torch.linspace(-1.0, 2.0, 12).reshape(4, 1, 3).requires_grad_()
told = []
for kind in (neuron.IFNode, neuron.LIFNode):
    spikes = kind(step_mode="m", surrogate_function=surrogate.ATan())(currents)
    first, = torch.autograd.grad((spikes * currents).sum(), currents, create_graph=True)
    second, = torch.autograd.grad(first.square().sum(), currents)
    told += [spikes.tolist(), first.tolist(), second.tolist()]
print(json.dumps({{"told": told, "compiler": "torch._inductor" in sys.modules, "triton": "triton" in sys.modules}}))
"""
_OURS = "import fl_sim.models.neurons"


def _python(before: str) -> tuple[dict[str, object], str]:
    """Return what the program prints in a process of its own, and what it wrote to stderr."""
    done = subprocess.run([sys.executable, "-c", _COMMON.format(before=before)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.endurance
def test_the_first_spike_imports_no_compiler_and_is_spikingjellys_own() -> None:
    ours, warned = _python(_OURS)
    theirs, _ = _python("")
    assert ours["told"] == theirs["told"]  # spikes, first and second derivatives, to the bit
    assert not ours["compiler"]
    assert not ours["triton"]  # an import of it by somebody else is not kept from it
    assert warned == ""


@pytest.mark.endurance
def test_no_warning_where_triton_is_not_installed() -> None:
    without = "sys.modules['triton'] = None\n"
    _, warned = _python(without)
    assert "Triton not available" in warned  # torch's own, four times a process
    ours, warned = _python(without + _OURS)
    assert warned == ""
    assert ours["triton"]  # what stood there stays
