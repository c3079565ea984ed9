"""That `reset_state` lets networks start anew, whichever library their neurons are of."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fl_sim.client_steps import client_gradient, reset_state
from tests import zoo
from tests.zoo.clients import seeded, targets_for

KEEPS_NO_STATE = ("snntorch_loop", "norse", "spiking_lenet")
"""Spiking networks that start each forward pass with neurons at rest."""


def found(name: str) -> zoo.ZooEntry:
    entry: zoo.ZooEntry = zoo.ZOO[name]
    if not zoo.is_installed(entry):
        pytest.skip(f"{entry.needs} is not installed; pip install '.[dev]' installs it")
    return entry


@pytest.mark.parametrize("name", [name for name, entry in zoo.ZOO.items() if entry.spiking])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_spiking_network_starts_anew(name: str, mode: str) -> None:
    """In single-step and multi-step mode, with dropout that lasts as long as the state; without a reset it does not."""
    entry = found(name)
    module = zoo.network_of(entry, 0).train(mode == "train")
    inputs, _ = zoo.examples_of(entry, 0, 3)
    outputs = []
    for resets in (True, True, False):
        if resets:
            reset_state(module)
        with seeded(0, "dropout"):
            outputs.append(module(inputs).detach())
    assert outputs[0].equal(outputs[1])
    assert outputs[0].equal(outputs[2]) == (name in KEEPS_NO_STATE)


@pytest.mark.parametrize("other", [2, 3])
def test_an_earlier_batch_leaves_nothing_behind(other: int) -> None:
    """Also if it had as many examples."""
    for name in ("jelly_if", "jelly_step_by_step", "snntorch_hidden"):
        entry = found(name)
        used, fresh = zoo.network_of(entry, 0), zoo.network_of(entry, 0)
        inputs, _ = zoo.examples_of(entry, 0, 3)
        used(zoo.examples_of(entry, 1, other)[0])
        reset_state(used)
        assert used(inputs).equal(fresh(inputs))


SNNTORCH: dict[str, dict[str, Any]] = {
    "Leaky": {"beta": 0.9},
    "DeltaLeaky": {"beta": 0.9},
    "Lapicque": {"beta": 0.9},
    "Synaptic": {"alpha": 0.9, "beta": 0.8},
    "Alpha": {"alpha": 0.9, "beta": 0.8},
    "RLeaky": {"beta": 0.9, "linear_features": 4},
    "RSynaptic": {"alpha": 0.9, "beta": 0.8, "linear_features": 4},
    "SLSTM": {"input_size": 4, "hidden_size": 4},
    "SConv2dLSTM": {"in_channels": 1, "out_channels": 1, "kernel_size": 3},
}
"""Neurons of snnTorch that keep a state, and what they must be told."""


@pytest.mark.parametrize("kind", SNNTORCH)
@pytest.mark.parametrize("hidden", [True, False])
def test_neurons_of_snntorch_start_anew(kind: str, hidden: bool) -> None:
    """Also where their state is not passed to them although they were not told to hide it."""
    snntorch = pytest.importorskip("snntorch", reason="pip install '.[dev]' installs it")
    if kind == "DeltaLeaky" and not hidden:
        pytest.skip("it refuses a call without its state")
    with seeded(0, "neurons"):
        neuron = getattr(snntorch, kind)(**SNNTORCH[kind], init_hidden=hidden, threshold=0.05)
    current = torch.rand((2, 1, 4, 4) if kind == "SConv2dLSTM" else (2, 4), generator=torch.Generator().manual_seed(0))

    def potentials() -> torch.Tensor:
        neuron(current)
        neuron(current)
        return torch.as_tensor(neuron.mem).detach()

    first = potentials()
    assert not potentials().equal(first)
    reset_state(nn.Sequential(neuron))
    assert potentials().equal(first)


@pytest.mark.parametrize(
    "name",
    [
        "jelly_if",
        "jelly_events",
        "jelly_step_by_step",
        "snntorch_loop",
        "snntorch_hidden",
        "norse",
        "hooked_weight_norm",
        "hooked_spectral_norm",
    ],
)
def test_nothing_of_a_clients_step_is_left_in_its_module(name: str) -> None:
    """torch cannot copy a module that holds a tensor with a graph, and the graph would hold the batch."""
    entry = found(name)
    module = zoo.network_of(entry, 0)
    inputs, labels = zoo.examples_of(entry, 0, 2)
    client_gradient(module, (inputs, targets_for(entry, labels)), entry.training)
    twin = copy.deepcopy(module).eval()
    module.eval()
    assert twin(inputs).equal(module(inputs))
