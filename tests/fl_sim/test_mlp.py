"""The networks of one hidden layer: sizes, voltage series worked by hand, and written-out reference loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from fl_sim.config import ModelSettings
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, build_model
from fl_sim.models.neurons import PotentialNode, Readout, build_neuron
from fl_sim.models.spiking_lenet import SpikingTwin
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec, TrainedModel, load_record, record_bytes
from fl_sim.specs import BRAINLEAKS_NEURONS
from tests.attacks.inversion_helpers import MLP, SMALL, SPIKING_MLP, after_decay, plain_potentials, trained, weights

ORDERS = ("before_decay", "after_decay")
NEURONS = BRAINLEAKS_NEURONS.model_copy(update={"timesteps": 6})


@pytest.mark.parametrize("architecture", ["mlp", "spiking_mlp"])
@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (InputSpec(1, 28, 28, 10), 2_385_010),
        (InputSpec(1, 112, 92, 40), 31_035_040),
        (InputSpec(1, 34, 34, 10, timesteps=100), 3_501_010),
        (InputSpec(1, 128, 128, 10, timesteps=100), 49_185_010),
    ],
    ids=["mnist", "faces", "nmnist", "gesture"],
)
def test_parameter_counts_are_those_of_the_published_code(architecture: str, spec: InputSpec, count: int) -> None:
    with torch.device("meta"):
        model = build_model(ModelSpec(architecture, spec, spiking=BRAINLEAKS_NEURONS))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("init", ["uniform", "torch"])
def test_the_twins_have_the_same_parameters_under_the_same_seed(init: str) -> None:
    ann, snn = (build_model(ModelSpec(name, SMALL, init, NEURONS, 9), seed=3) for name in ("mlp", "spiking_mlp"))
    theirs = dict(snn.named_parameters())
    assert set(theirs) == {name for name, _ in ann.named_parameters()}
    assert all(parameter.equal(theirs[name]) for name, parameter in ann.named_parameters())


def test_the_ann_is_two_products_with_a_sigmoid_between() -> None:
    model = trained(MLP)
    module = loaded(model)
    images = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    first, first_bias, second, second_bias = weights(model)
    hidden = 1.0 / (1.0 + torch.exp(-(images.reshape(3, 20) @ first.T + first_bias)))
    torch.testing.assert_close(module(images), hidden @ second.T + second_bias)


def loaded(model: TrainedModel) -> Any:
    module = build_model(model.model)
    module.load_state_dict({**module.state_dict(), **model.parameters})
    return module.double()


# Decay 1/2, threshold 1, soft reset, the whole current. Worked by hand from currents 1.5, 0.5, 1, 0:
# before the decay  U = 1.5 | (1.5 - 1)/2 + 0.5 | 0.75/2 + 1 | (1.375 - 1)/2
# after the decay   U = 1.5 | 1.5/2 + 0.5 - 1   | 0.25/2 + 1 | 1.125/2 - 1
CURRENTS = [1.5, 0.5, 1.0, 0.0]
SERIES = {
    "before_decay": ([1.5, 0.75, 1.375, 0.1875], [1, 0, 1, 0]),
    "after_decay": ([1.5, 0.25, 1.125, -0.4375], [1, 0, 1, 0]),
}


@pytest.mark.parametrize("order", ORDERS)
def test_potentials_before_the_reset_follow_the_series_worked_by_hand(order: Any) -> None:
    spec = SpikingSpec(neuron="lif", decay_input=False, reset="soft", reset_order=order, readout="potential")
    currents = torch.tensor(CURRENTS).view(4, 1, 1)
    potentials, spikes = SERIES[order]
    readout = Readout(spec)
    assert readout(currents).flatten().tolist() == potentials
    functional.reset_net(readout)
    assert readout.spikes(currents).flatten().tolist() == spikes
    assert build_neuron(spec)(currents).flatten().tolist() == spikes


@pytest.mark.parametrize("order", ORDERS)
def test_a_decay_of_seven_tenths_follows_a_loop_of_plain_numbers(order: Any) -> None:
    currents = (3.0 * torch.rand(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1.0).tolist()
    potential, fired, expected = 0.0, 0.0, []
    for current in currents:
        if order == "before_decay":
            potential = 0.7 * (potential - fired) + current
        else:
            potential = 0.7 * potential + current - fired
        fired = 1.0 if potential > 1.0 else 0.0
        expected.append(potential)
    node = PotentialNode(BRAINLEAKS_NEURONS.model_copy(update={"reset_order": order}))
    potentials, spikes = node.course(torch.tensor(currents, dtype=torch.float64).view(-1, 1))
    assert potentials.flatten().tolist() == pytest.approx(expected, abs=1e-12)
    assert spikes.flatten().tolist() == [float(u > 1.0) for u in expected]
    assert 5 < float(spikes.sum()) < 35


@pytest.mark.parametrize(
    "spec",
    [
        SpikingSpec(neuron=kind, reset=reset, detach_reset=detach, decay_input=decay, tau=3.0, surrogate="sigmoid")
        for kind in ("if", "lif")
        for reset in ("hard", "soft")
        for detach in (False, True)
        for decay in (False, True)
    ],
    ids=lambda spec: f"{spec.neuron}-{spec.reset}-{spec.detach_reset}-{spec.decay_input}",
)
def test_neurons_whose_potential_is_read_fire_and_differentiate_as_spikingjellys(spec: SpikingSpec) -> None:
    currents = torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    theirs, ours = build_neuron(spec)(currents), PotentialNode(spec)(currents)
    assert theirs.equal(ours)
    slopes = [torch.autograd.grad(spikes[-3:].sum(), currents)[0] for spikes in (theirs, ours)]
    torch.testing.assert_close(slopes[0], slopes[1])


def test_a_readout_that_never_fires_takes_the_whole_current_where_it_is_told_to() -> None:
    spec = SpikingSpec(neuron="lif", decay_input=False)
    # Decay 1/2: 1, 0.5 + 2, 1.25 - 1.
    potentials = Readout(spec)(torch.tensor([1.0, 2.0, -1.0]).view(3, 1, 1))
    assert potentials.flatten().tolist() == pytest.approx([1.0, 2.5, 0.25])


@pytest.mark.parametrize("order", ORDERS)
def test_the_spiking_network_and_its_input_gradient_follow_a_written_out_loop(order: str) -> None:
    spec = SPIKING_MLP if order == "before_decay" else after_decay(SPIKING_MLP)
    model = trained(spec)
    module = loaded(model)
    generator = torch.Generator().manual_seed(5)
    spikes = (torch.rand(7, 3, 1, 4, 5, generator=generator) < 0.4).double().requires_grad_()
    for output, ours in enumerate((module.sequence(spikes), module.output_spikes(spikes))):
        courses = [plain_potentials(model, spikes[:, n].flatten(1), order=order)[output] for n in range(3)]
        theirs = torch.stack(courses, dim=1)
        torch.testing.assert_close(ours, theirs)
        slopes = [torch.autograd.grad(said.softmax(-1)[..., 1].sum(), spikes)[0] for said in (ours, theirs)]
        assert float(slopes[0].abs().max()) > 0
        torch.testing.assert_close(slopes[0], slopes[1])
    assert 0 < int(ours.detach().sum()) < ours.numel()


def test_all_steps_are_one_product() -> None:
    module = loaded(trained(SPIKING_MLP))
    shapes: list[torch.Size] = []
    layer = next(part for part in module.modules() if isinstance(part, nn.Linear))
    layer.register_forward_hook(lambda _module, inputs, _output: shapes.append(inputs[0].shape))
    module(torch.zeros(7, 3, 1, 4, 5).double())
    assert shapes == [(21, 20)]


def test_images_are_read_through_the_rate_code_with_fresh_draws() -> None:
    module = loaded(trained(SPIKING_MLP))
    images = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    assert module.sequence(images).equal(module.sequence(module.encoder(images)))
    first = module(images)
    module.encoder.seed = 1
    assert not module(images).equal(first)


SPIKING = [name for name, entry in MODELS.items() if entry.spiking]


@pytest.mark.parametrize("architecture", SPIKING)
@pytest.mark.parametrize("readout", ["membrane", "spikes", "potential"])
def test_every_spiking_model_says_what_it_outputs_at_each_step(architecture: str, readout: Any) -> None:
    spec = ModelSpec(architecture, InputSpec(1, 16, 16, 3), "torch", SpikingSpec(timesteps=4, readout=readout), 8)
    model = build_model(spec, seed=0)
    assert isinstance(model, SpikingTwin)
    for inputs in (torch.rand(2, 1, 16, 16), torch.ones(6, 2, 1, 16, 16)):
        said = model.sequence(inputs)
        assert said.shape == (4 if inputs.dim() == 4 else 6, 2, 3)
        assert model(inputs).equal(said.mean(0))
        if readout == "membrane":
            with pytest.raises(ConfigError, match="never fire"):
                model.output_spikes(inputs)
        else:
            assert set(model.output_spikes(inputs).flatten().tolist()) <= {0.0, 1.0}


def test_a_hard_reset_after_the_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reset_order: a hard reset has no order"):
        SpikingSpec(reset_order="after_decay")


def test_the_config_hands_the_width_on() -> None:
    spec = ModelSettings(name="mlp", hidden=17).spec(SMALL)
    layers = [tuple(parameter.shape) for parameter in build_model(spec).parameters()]
    assert layers == [(17, 20), (17,), (4, 17), (4,)]


def test_a_record_from_before_there_were_widths_and_orders_loads_with_the_defaults(tmp_path: Path) -> None:
    spec = ModelSpec("spiking_lenet", SMALL, "torch", SpikingSpec(timesteps=4, reset="soft"))
    parameters: dict[str, Tensor] = {"weight": torch.ones(2)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(record_bytes(TrainedModel(spec, parameters, 0.5, 1, 0)))
    with safetensors.safe_open(path, framework="pt") as stream:
        plain = json.loads(stream.metadata()["spikeleak"])
    del plain["sha256"]  # nor was there a checksum
    del plain["model"]["hidden"], plain["model"]["spiking"]["reset_order"], plain["model"]["spiking"]["decay_input"]
    tensors = {f"parameters/{name}": value for name, value in parameters.items()}
    safetensors.torch.save_file(tensors, path, {"spikeleak": json.dumps(plain)})
    assert load_record(TrainedModel, path).model == spec
