"""The last layer of a captured model, and whole counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.reading.label_counts import whole
from attacks.reading.last_layer import LastLayer, dummy_inputs
from fl_sim.models import MODELS
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from tests.attacks.helpers import LENET, SMALL, SPIKING_LENET, captures_of, truth

STEPS = 5


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("init", ["uniform", "torch"])
def test_the_last_layer_of_our_models_is_the_one_registered_last(name: str, init: str) -> None:
    shape = InputSpec(1, 16, 16, 4)
    model = ModelSpec(name, shape, init, SpikingSpec(timesteps=STEPS) if MODELS[name].spiking else None, hidden=4)
    (capture,) = captures_of(model, *truth(1, shape))
    layer = LastLayer(capture)
    assert (layer.weight, layer.bias) == tuple(list(capture.update)[-2:]) == ("head.weight", "head.bias")
    torch.testing.assert_close(layer.logits_at(layer.features()), layer.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "gain"),
    [
        ({}, (STEPS + 1) / 2),  # the potential after t steps is t times the current
        ({"neuron": "lif", "decay_input": True}, 1 - (1 - 0.5**STEPS) / STEPS),  # it is (1 - 2^-t) times the current
        ({"neuron": "lif", "decay_input": False}, 2 * (1 - (1 - 0.5**STEPS) / STEPS)),
    ],
)
def test_the_gain_of_output_neurons_that_do_not_fire(settings: dict[str, object], gain: float) -> None:
    spiking = SpikingSpec(timesteps=STEPS, **settings)  # type: ignore[arg-type]
    (capture,) = captures_of(replace(SPIKING_LENET, spiking=spiking), *truth(1))
    layer = LastLayer(capture)
    torch.testing.assert_close(layer.gain(), torch.full((4,), gain))
    assert layer.is_affine()


def test_the_features_of_an_ordinary_layer_are_its_input() -> None:
    (capture,) = captures_of(LENET, *truth(1))
    layer = LastLayer(capture)
    torch.testing.assert_close(layer.gain(), torch.ones(4))
    assert layer.features().shape == (len(layer.logits), capture.update["head.weight"].shape[1])
    assert 0.0 < float(layer.features().min()) < float(layer.features().max()) < 1.0  # they are sigmoids


def test_output_neurons_that_fire_are_not_affine() -> None:
    spiking = SpikingSpec(timesteps=STEPS, readout="spikes", threshold=0.1)
    (capture,) = captures_of(replace(SPIKING_LENET, spiking=spiking, init="uniform"), *truth(1))
    layer = LastLayer(capture)
    assert (layer.weight, layer.bias) == ("head.weight", "head.bias")
    assert not layer.is_affine()


def test_dummy_inputs_run_from_empty_to_full() -> None:
    images = dummy_inputs(replace(SMALL, low=-1.0, high=2.0))
    assert (images[0] == -1.0).all()
    means = images.flatten(1).mean(1)
    assert (means.diff() > 0).all()
    assert float(means[-1]) == pytest.approx(0.5, abs=0.3)
    assert float(images.max()) <= 2.0
    events = dummy_inputs(InputSpec(2, 8, 8, 4, timesteps=7))
    assert events.shape == (7, len(images), 2, 8, 8)
    assert set(events.flatten().tolist()) == {0.0, 1.0}
    assert not events[:, 0].any()


@pytest.mark.parametrize(
    ("numbers", "total", "expected"),
    [
        ([2.0, 0.0, 1.0], 3, [2, 0, 1]),
        ([1.6, 1.3, 0.1], 3, [2, 1, 0]),
        ([0.4, 0.4, 1.2], 2, [1, 0, 1]),  # of equal remainders the first
        ([3.0, -1.0, 1.2], 3, [2, 0, 1]),  # the nearest point that is nowhere negative is (2.4, 0, 0.6)
        ([1e30, 0.0, 0.0], 4, [4, 0, 0]),
        ([float("nan")] * 3, 4, [2, 1, 1]),
        ([float("inf"), float("-inf"), 0.0], 2, [2, 0, 0]),
    ],
)
def test_numbers_become_whole(numbers: list[float], total: int, expected: list[int]) -> None:
    assert whole(torch.tensor(numbers, dtype=torch.float64), total).tolist() == expected


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=12), st.integers(1, 200))
def test_whole_numbers_are_counts_with_the_sum(numbers: list[float], total: int) -> None:
    found = whole(torch.tensor(numbers, dtype=torch.float64), total)
    assert int(found.sum()) == total
    assert int(found.min()) >= 0
    order = torch.tensor(numbers, dtype=torch.float64).argsort(descending=True, stable=True)
    assert (found[order].diff() <= 1).all()
