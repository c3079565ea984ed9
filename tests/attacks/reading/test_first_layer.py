"""The input of a single example in closed form, from the gradient of the first layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.reading.first_layer import FirstLayer, InputRead, find_first_layer, read_input
from fl_sim.client_training import ClientTraining
from fl_sim.models import MODELS
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from tests.attacks.clients import SMALL as SHAPE
from tests.attacks.clients import Register
from tests.attacks.helpers import LENET, captures_of, truth

SMALL = InputSpec(1, 6, 5, 4)
EVENTS = InputSpec(2, 4, 4, 3, timesteps=6)


def victim(model: ModelSpec, *, examples: int = 1) -> tuple[CapturedUpdate, Tensor]:
    inputs, labels = truth(examples, model.input)
    axis = 1 if model.input.timesteps else 0
    batch = torch.cat(list(inputs), axis)
    (capture,) = captures_of(model, batch[None], labels.flatten()[None])
    return capture, batch


def read_of(capture: CapturedUpdate) -> InputRead:
    found = read_input(capture, find_first_layer(capture))
    assert found is not None
    return found


@pytest.mark.parametrize("name", MODELS)
def test_only_networks_of_linear_layers_have_a_first_layer_that_reads_the_input(name: str) -> None:
    shape = InputSpec(1, 16, 16, 4)
    model = ModelSpec(name, shape, "torch", SpikingSpec(timesteps=3) if MODELS[name].spiking else None, hidden=4)
    found = find_first_layer(victim(model)[0])
    assert found == (FirstLayer("body.0.1.weight", "body.0.1.bias", constant=True) if "mlp" in name else None)


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec("mlp", SMALL, "torch", hidden=7),
        ModelSpec("mlp", replace(SMALL, channels=3, low=-1.0, high=2.0), "uniform", hidden=40),
        ModelSpec("spiking_mlp", SMALL, "torch", SpikingSpec(timesteps=5), hidden=12),
        ModelSpec("spiking_mlp", SMALL, "uniform", SpikingSpec(timesteps=5, neuron="lif"), hidden=12),
    ],
    ids=["mlp", "colours and another range", "IF", "LIF"],
)
def test_one_input_is_the_quotient_of_the_gradients_of_weights_and_bias(model: ModelSpec) -> None:
    capture, inputs = victim(model)
    read = read_of(capture)
    assert read.seen == "input"
    assert read.error < 1e-5
    torch.testing.assert_close(read.inputs, inputs[0], rtol=1e-4, atol=1e-5)


def test_a_delta_of_several_steps_on_one_example_and_normalisation_change_nothing() -> None:
    model = ModelSpec("mlp", SMALL, "torch", hidden=7)
    capture, inputs = victim(model)
    delta = {name: -0.1 * gradient for name, gradient in capture.update.items()}
    steps = replace(capture, update=delta, kind="delta", epochs=3, local_steps=None)
    torch.testing.assert_close(read_of(steps).inputs, inputs[0], rtol=1e-4, atol=1e-5)
    training = ClientTraining(mean=0.3, std=0.2)
    (normalised,) = captures_of(model, (inputs[None] - 0.3) / 0.2, torch.tensor([[1]]))
    read = read_of(replace(normalised, training=training))
    torch.testing.assert_close(read.inputs, inputs[0], rtol=1e-4, atol=1e-5)


def test_softmax_regression_falls_at_once(register: Register) -> None:
    model = replace(register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4))), input=SHAPE)
    capture, inputs = victim(model)
    read = read_of(capture)
    assert read.error < 1e-5
    torch.testing.assert_close(read.inputs, inputs[0], rtol=1e-4, atol=1e-5)


class Permuted(nn.Module):
    """A network whose first layer reads other numbers than the pixels, though as many."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 9), nn.Linear(9, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        read: Tensor = self.last(torch.relu(self.first(inputs.flatten(1).flip(1) ** 2)))
        return read


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (Permuted, None),
        (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 4)), None),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4)),
            FirstLayer("1.weight", "", constant=True),  # behind which a bias never moves
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.Tanh(), nn.Linear(9, 4)),
            FirstLayer("1.weight", "", constant=True),
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Linear(64, 4)),
            FirstLayer("1.weight", "1.bias", constant=True),
        ),
    ],
    ids=["other numbers", "dropout", "batch normalisation", "no bias", "the second layer is as wide"],
)
def test_the_layer_is_found_by_what_it_reads(build: Any, expected: FirstLayer | None, register: Register) -> None:
    model = replace(register(build), input=SHAPE)
    assert find_first_layer(victim(model, examples=2)[0]) == expected


def test_without_a_bias_the_direction_is_known(register: Register) -> None:
    model = register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.Tanh(), nn.Linear(9, 4)))
    capture, inputs = victim(replace(model, input=SHAPE))
    read = read_of(capture)
    assert read.seen == "direction"
    assert read.error < 1e-5
    torch.testing.assert_close(read.inputs, inputs[0] / inputs[0].norm(), rtol=1e-4, atol=1e-5)


def test_a_rate_code_gives_a_mean_of_its_spikes_that_is_not_exact() -> None:
    model = ModelSpec("spiking_mlp", SMALL, "torch", SpikingSpec(timesteps=6, encoder="rate"), hidden=12)
    capture, _ = victim(model)
    assert find_first_layer(capture) == FirstLayer("body.0.1.weight", "body.0.1.bias", constant=False)
    read = read_of(capture)
    assert read.seen == "time mean"
    assert read.error > 1e-3
    binary = (truth(1, SMALL)[0]).round()
    (same,) = captures_of(model, binary, torch.tensor([[1]]))
    torch.testing.assert_close(read_of(same).inputs, binary[0, 0], rtol=1e-4, atol=1e-5)  # every step has these spikes


def test_a_latency_code_and_texts_have_no_closed_form() -> None:
    model = ModelSpec("spiking_mlp", SMALL, "torch", SpikingSpec(timesteps=6, encoder="latency"), hidden=12)
    assert find_first_layer(victim(model)[0]) is None


def test_recordings_give_their_mean_weighted_by_the_deltas() -> None:
    model = ModelSpec("spiking_mlp", EVENTS, "torch", SpikingSpec(timesteps=6), hidden=12)
    still = truth(1, replace(EVENTS, timesteps=0))[0].round().expand(6, 1, 2, 4, 4)
    (capture,) = captures_of(model, still[None], torch.tensor([[1]]))
    read = read_of(capture)
    assert read.seen == "time mean"
    assert read.error < 1e-5
    torch.testing.assert_close(read.inputs, still[0, 0], rtol=1e-4, atol=1e-5)


def test_a_batch_and_an_update_of_zeros_are_not_read() -> None:
    model = ModelSpec("mlp", SMALL, "torch", hidden=7)
    batch, _ = victim(model, examples=2)
    assert read_input(batch, find_first_layer(batch)) is None
    capture, _ = victim(model)
    nothing = replace(capture, update={name: torch.zeros_like(g) for name, g in capture.update.items()})
    assert read_input(nothing, find_first_layer(nothing)) is None
    assert read_input(victim(LENET)[0], None) is None
