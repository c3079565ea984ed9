"""The whole-sequence neurons against SpikingJelly's, step by step: spikes, first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate

from attacks.folding.neurons import SequenceNeurons, dynamics_of
from fl_sim.models.neurons import SURROGATES, build_neuron
from fl_sim.specs import SpikingSpec

SPECS = [
    SpikingSpec(neuron=kind, reset=reset, surrogate=name, detach_reset=detach, tau=3.0, slope=1.7, threshold=0.8)
    for kind in ("if", "lif")
    for reset in ("hard", "soft")
    for name in SURROGATES
    for detach in (False, True)
]


def name_of(spec: SpikingSpec) -> str:
    return f"{spec.neuron}-{spec.reset}-{spec.surrogate}-{'detached' if spec.detach_reset else 'attached'}"


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_spikes_and_both_derivatives_are_spikingjellys(spec: SpikingSpec) -> None:
    generator = torch.Generator().manual_seed(0)
    currents = torch.randn(7, 2, 9, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.randn(7, 2, 9, generator=generator, dtype=torch.float64)
    probe = torch.randn(7, 2, 9, generator=generator, dtype=torch.float64)
    theirs = build_neuron(spec)
    dynamics = dynamics_of(theirs)
    assert dynamics is not None
    results = []
    for layer in (theirs, SequenceNeurons(dynamics)):
        scale = weights.clone().requires_grad_()
        spikes = layer(currents)
        (slope,) = torch.autograd.grad((spikes * scale).sum(), currents, create_graph=True)
        second = torch.autograd.grad((slope * probe).sum(), [currents, scale])
        results.append([spikes.detach(), slope.detach(), *second])
    assert results[0][0].equal(results[1][0])
    assert 0 < float(results[0][0].mean()) < 1
    for ours, expected in zip(results[1][1:], results[0][1:], strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    "layer",
    [
        neuron.IFNode(step_mode="s"),
        neuron.IFNode(step_mode="m", surrogate_function=surrogate.Erf()),
        neuron.LIFNode(step_mode="m", decay_input=False),
        neuron.IFNode(step_mode="m", v_reset=0.5),
        neuron.ParametricLIFNode(step_mode="m"),
        torch.nn.Sigmoid(),
    ],
)
def test_other_neurons_are_left_to_spikingjelly(layer: torch.nn.Module) -> None:
    assert dynamics_of(layer) is None
