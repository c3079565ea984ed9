"""What the last layer tells of a single example."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks.reading.head import HeadRead, read_head
from attacks.reading.last_layer import LastLayer
from fl_sim.models import build_model
from fl_sim.models.spiking_lenet import SpikingLeNet
from fl_sim.records import CapturedUpdate, ModelSpec, SpikingSpec
from tests.attacks.helpers import LENET, SPIKING_LENET, captures_of, truth, with_noise

STEPS = 5


def read_of(capture: CapturedUpdate) -> HeadRead:
    found = read_head(capture)
    assert found is not None
    return found


@pytest.mark.parametrize("model", [LENET, replace(SPIKING_LENET, init="uniform")], ids=["lenet", "spiking_lenet"])
def test_the_residual_is_the_probabilities_less_the_label(model: ModelSpec) -> None:
    inputs, labels = truth(3)
    for number, capture in enumerate(captures_of(model, inputs, labels)):
        logits = build_model(model, seed=number)(inputs[number])
        expected = logits.softmax(-1)[0].detach()
        expected[labels[number]] -= 1.0
        read = read_of(capture)
        torch.testing.assert_close(read.residual, expected, rtol=1e-4, atol=1e-6)
        assert read.error < 1e-5


def test_the_features_of_if_neurons_under_the_mean_potential_are_whole_numbers_over_the_time() -> None:
    """T F = sum_t (T - t + 1) s_t: a sum of some of the numbers 1 to T."""
    model = replace(SPIKING_LENET, init="uniform", spiking=SpikingSpec(timesteps=STEPS))
    inputs, labels = truth(3)
    for number, capture in enumerate(captures_of(model, inputs, labels)):
        network = build_model(model, seed=number)
        assert isinstance(network, SpikingLeNet)
        seen: list[torch.Tensor] = []
        network.body[-1].register_forward_hook(lambda _module, _inputs, spikes, seen=seen: seen.append(spikes))
        network(inputs[number])
        weights = torch.arange(STEPS, 0, -1.0)
        expected = torch.einsum("t,tf->f", weights, seen[0].detach().flatten(1))
        whole = STEPS * read_of(capture).features
        torch.testing.assert_close(whole, expected, rtol=0, atol=1e-3)
        assert bool((expected > 0).any())
        assert float(expected.max()) <= STEPS * (STEPS + 1) / 2
        assert read_of(capture).active == pytest.approx(float((expected > 0).double().mean()))


def test_noise_shows_in_the_error() -> None:
    captures = captures_of(LENET, *truth(2))
    clean, noisy = (read_of(capture).error for capture in (captures[0], with_noise(captures, 0.1)[0]))
    assert clean < 1e-5 < 1e-2 < noisy


def test_batches_several_steps_and_output_neurons_that_fire_are_not_read() -> None:
    inputs, labels = truth(2)
    (batch,) = captures_of(LENET, inputs[:, 0][None], labels[:, 0][None])
    assert read_head(batch) is None
    (capture,) = captures_of(LENET, inputs[:1], labels[:1])
    assert read_head(replace(capture, kind="delta", learning_rate=0.1, local_steps=2, num_examples=2)) is None
    firing = SpikingSpec(timesteps=STEPS, readout="spikes", threshold=0.1)
    (capture,) = captures_of(replace(SPIKING_LENET, spiking=firing, init="uniform"), inputs[:1], labels[:1])
    assert read_head(capture) is None
    assert read_head(capture, LastLayer(capture)) is None
