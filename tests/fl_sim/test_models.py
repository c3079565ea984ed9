"""The models: sizes, initialisation, a voltage series worked by hand, and derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.models.neurons import FastSigmoid, Readout, build_neuron
from fl_sim.models.spiking_lenet import SpikingLeNet, activities
from fl_sim.specs import REFUSED_SURROGATES, InputSpec, ModelSpec, SpikingSpec

MNIST, CIFAR, LFW = InputSpec(1, 28, 28, 10), InputSpec(3, 32, 32, 100), InputSpec(3, 32, 32, 5749)
TINY = InputSpec(1, 8, 8, 3)


@pytest.mark.parametrize(("spec", "count"), [(MNIST, 13_426), (CIFAR, 85_036), (LFW, 4_429_117)])
@pytest.mark.parametrize("architecture", ["lenet", "spiking_lenet"])
def test_parameter_counts_are_those_of_the_published_code(spec: InputSpec, count: int, architecture: str) -> None:
    spiking = SpikingSpec() if architecture == "spiking_lenet" else None
    model = build_model(ModelSpec(architecture, spec, spiking=spiking))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_twins_have_the_same_parameters_under_the_same_seed() -> None:
    ann = build_model(ModelSpec("lenet", TINY), seed=3)
    snn = build_model(ModelSpec("spiking_lenet", TINY, spiking=SpikingSpec()), seed=3)
    theirs = dict(snn.named_parameters())
    assert all(parameter.equal(theirs[name]) for name, parameter in ann.named_parameters())


@pytest.mark.parametrize("init", ["uniform", "torch"])
def test_initialisation_repeats_and_leaves_the_global_generator_alone(init: str) -> None:
    before = torch.get_rng_state()
    first, second, other = (build_model(ModelSpec("lenet", MNIST, init), seed=seed) for seed in (0, 0, 1))
    weights = [model.head.weight for model in (first, second, other)]  # type: ignore[union-attr]
    assert weights[0].equal(weights[1])  # type: ignore[operator, arg-type]
    assert not weights[0].equal(weights[2])  # type: ignore[operator, arg-type]
    first_values = torch.cat([parameter.detach().flatten() for parameter in first.parameters()])
    bound = 0.5 if init == "uniform" else 0.2
    assert float(first_values.abs().max()) <= bound
    assert float(first_values.abs().max()) > 0.9 * bound
    build_model(ModelSpec("lenet", MNIST, init), seed=0)
    assert init == "torch" or torch.get_rng_state().shape == before.shape


def potentials(node: Any, currents: list[float]) -> tuple[list[float], list[float]]:
    """Return spikes and membrane potentials after the reset."""
    node.store_v_seq = True
    spikes = node(torch.tensor(currents).view(-1, 1, 1))
    series = spikes.flatten().tolist(), node.v_seq.flatten().tolist()
    functional.reset_net(node)
    return series


# Worked by hand, threshold 1. IF: h[t] = v[t-1] + x[t]. LIF with tau 2: h[t] = v[t-1] + (x[t] - v[t-1]) / 2.
# A spike where h >= 1; hard reset v = 0, soft reset v = h - 1.
SERIES = [
    ("if", "hard", [0.5, 0.5, 0.75, 0.75, 0.25], [0, 1, 0, 1, 0], [0.5, 0.0, 0.75, 0.0, 0.25]),
    ("if", "soft", [0.5, 0.75, 0.75, 0.25, -0.5], [0, 1, 1, 0, 0], [0.5, 0.25, 0.0, 0.25, -0.25]),
    ("lif", "hard", [1.0, 1.0, 1.5, 0.0, 2.0], [0, 0, 1, 0, 1], [0.5, 0.75, 0.0, 0.0, 0.0]),
    ("lif", "soft", [1.0, 2.0, 1.75, 1.0, 0.0], [0, 1, 1, 0, 0], [0.5, 0.25, 0.0, 0.5, 0.25]),
]


@pytest.mark.parametrize(("kind", "reset", "currents", "spikes", "voltages"), SERIES)
def test_membrane_potentials_follow_the_series_worked_by_hand(
    kind: Any,
    reset: Any,
    currents: list[float],
    spikes: list[float],
    voltages: list[float],
) -> None:
    node = build_neuron(SpikingSpec(neuron=kind, reset=reset))
    assert potentials(node, currents) == (spikes, voltages)


def test_the_readout_is_the_time_mean_of_a_membrane_that_never_fires() -> None:
    currents = torch.tensor([1.0, 2.0, -1.0]).view(3, 1, 1)
    # IF: 1, 3, 2. LIF with tau 2: 0.5, 1.25, 0.125.
    assert Readout(SpikingSpec())(currents).mean().item() == pytest.approx(2.0)
    assert Readout(SpikingSpec(neuron="lif"))(currents).mean().item() == pytest.approx(0.625)
    assert Readout(SpikingSpec(readout="spikes"))(currents).flatten().tolist() == [1.0, 1.0, 0.0]


def test_fast_sigmoid_spikes_are_binary_and_its_derivative_is_the_stated_one() -> None:
    x = torch.linspace(-2, 2, 1001, requires_grad=True)
    spikes = FastSigmoid(alpha=40.0)(x)
    assert set(spikes.tolist()) == {0.0, 1.0}
    (slope,) = torch.autograd.grad(spikes.sum(), x)
    torch.testing.assert_close(slope, 1 / (1 + 40 * x.detach().abs()) ** 2)


@pytest.mark.parametrize("name", REFUSED_SURROGATES)
def test_surrogates_without_a_second_derivative_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValueError, match=r"refused: .*(derivative|explodes)"):
        SpikingSpec(surrogate=name)


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "atan": lambda x: surrogate.ATan.primitive_function(x, torch.tensor(2.0, dtype=x.dtype)),
    "sigmoid": lambda x: torch.sigmoid(2.0 * x),
    "fast_sigmoid": lambda x: x / (1 + 2.0 * x.abs()),
}


class SmoothNode(nn.Module):
    """IF or LIF neurons written out in plain torch, firing smoothly: what the surrogate gradient differentiates."""

    def __init__(self, spec: SpikingSpec) -> None:
        super().__init__()
        self.spec = spec
        self.fire = SURROGATES[spec.surrogate]

    def forward(self, currents: Tensor, *, hard_spikes: Tensor | None = None) -> Tensor:
        """Return smooth spikes; with `hard_spikes`, their values, and the smooth spikes' derivatives."""
        spec, voltage, spikes = self.spec, torch.zeros_like(currents[0]), []
        for step, current in enumerate(currents):
            charge = (current - voltage) / spec.tau if spec.neuron == "lif" else current
            potential = voltage + charge
            spike = self.fire(potential - spec.threshold)
            if hard_spikes is not None:
                spike = hard_spikes[step] + (spike - spike.detach())
            spikes.append(spike)
            reset = spike.detach() if spec.detach_reset else spike
            voltage = potential * (1 - reset) if spec.reset == "hard" else potential - spec.threshold * reset
        return torch.stack(spikes)


NODES = [
    SpikingSpec(neuron=kind, reset=reset, surrogate=name, detach_reset=detach)
    for kind in ("if", "lif")
    for reset in ("hard", "soft")
    for name in SURROGATES
    for detach in (False, True)
]


@pytest.mark.parametrize(
    "spec", NODES, ids=lambda spec: f"{spec.neuron}-{spec.reset}-{spec.surrogate}-{spec.detach_reset}"
)
def test_first_and_second_derivatives_of_a_neuron_are_those_of_the_written_out_one(spec: SpikingSpec) -> None:
    """SpikingJelly's backward and double backward against autograd on the same recurrence in plain torch."""
    generator = torch.Generator().manual_seed(1)
    currents = torch.randn(6, 1, 5, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.randn(6, 1, 5, generator=generator, dtype=torch.float64)
    node = build_neuron(spec)
    spikes = node(currents)
    twin = SmoothNode(spec)(currents, hard_spikes=spikes.detach())
    results = []
    for output in (spikes, twin):
        (slope,) = torch.autograd.grad((output * weights).sum(), currents, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.square().sum(), currents, retain_graph=True)
        results.append((slope.detach(), curvature))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize(
    "spec", [SpikingSpec(surrogate=name, neuron=kind) for name in ("atan", "sigmoid") for kind in ("if", "lif")]
)
def test_the_smooth_twin_matches_finite_differences(spec: Any) -> None:
    """A forward pass of SpikingJelly that really is smooth, so that finite differences mean something."""
    node = build_neuron(spec)
    for module in node.modules():
        if isinstance(module, surrogate.SurrogateFunctionBase):
            module.set_spiking_mode(False)

    def smooth(currents: Tensor) -> Tensor:
        functional.reset_net(node)
        spikes: Tensor = node(currents)
        return spikes

    currents = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert gradcheck(smooth, (currents,))
    assert gradgradcheck(smooth, (currents,))


def test_the_gradient_of_the_whole_spiking_lenet_matches_finite_differences_on_the_smooth_twin() -> None:
    model = build_model(ModelSpec("spiking_lenet", TINY, "torch", SpikingSpec(timesteps=3)), seed=0).double()
    for module in model.modules():
        if isinstance(module, surrogate.SurrogateFunctionBase):
            module.set_spiking_mode(False)
    inputs = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = model.body[2].weight  # type: ignore[index, union-attr]
    assert isinstance(weight, Tensor)
    loss = F.cross_entropy(model(inputs), torch.tensor([1]))
    (slope,) = torch.autograd.grad(loss, weight)
    step = 1e-6
    for index in [(0, 0, 2, 2), (3, 5, 1, 4), (11, 7, 0, 0)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * step
                values.append(float(F.cross_entropy(model(inputs), torch.tensor([1]))))
                weight[index] -= sign * step
        assert float(slope[index]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-10)


def test_two_calls_of_a_spiking_model_agree_and_it_can_be_copied() -> None:
    import copy

    model = build_model(ModelSpec("spiking_lenet", TINY, spiking=SpikingSpec(timesteps=4)), seed=0)
    inputs = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = model(inputs), model(inputs)
    assert first.equal(second)
    assert copy.deepcopy(model)(inputs).equal(first)


def test_frames_replicated_by_hand_give_the_direct_encoding() -> None:
    model = build_model(ModelSpec("spiking_lenet", TINY, spiking=SpikingSpec(timesteps=4)), seed=0)
    inputs = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(inputs.expand(4, *inputs.shape)), model(inputs))


def test_firing_rates_name_each_layer() -> None:
    model = build_model(ModelSpec("spiking_lenet", TINY, spiking=SpikingSpec(timesteps=4)), seed=0)
    assert isinstance(model, SpikingLeNet)
    found = activities(model, torch.rand(2, 1, 8, 8))
    assert list(found) == ["body.1", "body.3", "body.5"]
    # In 4 steps a neuron that is not silent fires at least once, at most 4 times.
    assert all((1 - layer.silent) / 4 <= layer.rate + 1e-6 <= 1 - layer.silent + 2e-6 for layer in found.values())
    assert isinstance(model.body[1], neuron.IFNode)


def test_activity_by_hand() -> None:
    """Currents of 0, 1/4, 1/2 and 1 make an IF neuron of threshold 1 fire 0, 1, 2 and 4 times in 4 steps."""
    currents = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(4, 1, 4)
    whole, stepwise = neuron.IFNode(step_mode="m"), neuron.IFNode(step_mode="s")
    assert activities(nn.Sequential(whole), currents) == {"0": (7 / 16, 1 / 4)}

    class OneByOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = stepwise

        def forward(self, sequence: Tensor) -> Tensor:
            return torch.stack([self.node(current) for current in sequence])

    assert activities(OneByOne(), currents) == {"node": (7 / 16, 1 / 4)}
    assert activities(build_model(ModelSpec("lenet", TINY)), torch.rand(2, 1, 8, 8)) == {}


def test_an_unknown_architecture_and_init_are_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lenet'"):
        build_model(ModelSpec("lennet", TINY))
    with pytest.raises(ConfigError, match=r"model\.init: 'kaiming'"):
        build_model(ModelSpec("lenet", TINY, "kaiming"), seed=0)
    with pytest.raises(ConfigError, match="needs spiking settings"):
        build_model(ModelSpec("spiking_lenet", TINY))
