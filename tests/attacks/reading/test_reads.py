"""All that one update tells at once: labels, how certain they are, and how many examples there are at least."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.reading.reads import MOST_RANK, rank_of, read
from attacks.testing.victims import MLP, SPIKING_MLP
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec
from tests.attacks.clients import Register, client
from tests.attacks.helpers import LENET, SPIKING_LENET, captures_of, truth, with_noise

DIRECT = replace(SPIKING_MLP, spiking=SPIKING_LENET.spiking)
"""In which the same input enters at every step, not spikes of a rate code."""


def batch_of(model: ModelSpec, count: int, *, again: int = 0) -> CapturedUpdate:
    """Return the update of a batch whose last examples, `again` of them, are its first ones once more."""
    inputs, labels = truth(count, model.input)
    inputs, labels = inputs[:, 0], labels[:, 0]
    if again:
        inputs[-again:], labels[-again:] = inputs[:again], labels[:again]
    (capture,) = captures_of(model, inputs[None], labels[None])
    return capture


@pytest.mark.parametrize("model", [MLP, SPIKING_MLP, LENET, SPIKING_LENET], ids=lambda model: model.architecture)
def test_the_label_of_one_example_is_certain(model: ModelSpec) -> None:
    inputs, labels = truth(4, model.input)
    for capture, expected in zip(captures_of(model, inputs, labels), labels, strict=True):
        found = read(capture)
        assert found.labels is not None
        assert found.labels.equal(expected)
        assert (found.how, found.certain, found.examples) == ("bias", True, 1)
        assert found.head is not None or model is SPIKING_MLP  # whose output neurons may fire
        assert (found.input is None) == (model in (LENET, SPIKING_LENET))


def test_labels_are_told_or_uncertain_or_not_there() -> None:
    inputs, labels = truth(1)
    (capture,) = captures_of(LENET, inputs, labels)
    told = read(replace(capture, labels=labels[0]))
    assert (told.how, told.certain) == ("told", True)
    assert not read(with_noise([capture], 2.0)[0]).certain
    hidden = {name: g for name, g in capture.update.items() if not name.startswith("head")}
    none = read(replace(capture, update=hidden))
    assert (none.labels, none.how, none.certain) == (None, "", False)
    with pytest.raises(ConfigError, match="learning rate"):
        read(replace(capture, kind="delta"))


def test_what_one_output_says_depends_on_the_loss(register: Register) -> None:
    spec = InputSpec(1, 4, 4, 1)
    model = replace(register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))), input=spec)
    training = ClientTraining(loss="mse")
    capture, (inputs, _) = client(training, model=model, kind="gradient", local_steps=1, num_examples=1)
    found = read(capture)
    assert (found.labels, found.how) == (None, "")
    assert found.input is not None
    torch.testing.assert_close(found.input.inputs, inputs[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [MLP, DIRECT], ids=["mlp", "spiking_mlp"])
def test_the_rank_counts_different_examples(model: ModelSpec) -> None:
    assert read(batch_of(model, 5)).examples == 5
    assert read(batch_of(model, 5, again=2)).examples == 3


def test_steps_that_read_different_spikes_count_like_examples() -> None:
    found = read(batch_of(SPIKING_MLP, 8)).examples
    assert found is not None
    assert 1 <= found < 8


def test_the_last_layer_counts_as_far_as_there_are_classes() -> None:
    assert read(batch_of(LENET, 2)).examples == 2
    assert read(batch_of(LENET, 8)).examples == LENET.input.classes - 1  # residuals sum to 0


def test_noise_leaves_no_number_of_examples() -> None:
    assert read(with_noise([batch_of(MLP, 2)], 0.1)[0]).examples is None


def test_a_delta_has_the_rank_of_its_gradient_but_for_rounding() -> None:
    capture = batch_of(MLP, 3)
    delta = {
        name: (capture.parameters[name] - 1e-2 * gradient) - capture.parameters[name]
        for name, gradient in capture.update.items()
    }
    assert read(replace(capture, update=delta, kind="delta", learning_rate=1e-2)).examples == 3


def test_ranks() -> None:
    generator = torch.Generator().manual_seed(0)
    tall, wide = torch.randn(300, 7, generator=generator), torch.randn(7, 200, generator=generator)
    assert rank_of(tall @ wide) == 7
    assert rank_of(torch.zeros(3, 4)) == 0
    assert rank_of(torch.full((2, 2), torch.inf)) == 0
    assert rank_of(torch.eye(200)) == MOST_RANK
    assert rank_of(torch.diag(torch.tensor([1.0, 1e-2, 1e-4])), 1e-3) == 2


def test_thousands_of_classes_take_no_time() -> None:
    model = replace(MLP, input=InputSpec(1, 8, 8, 3000), hidden=64)
    capture = batch_of(model, 4)
    started = time.process_time()
    found = read(capture)
    assert found.labels is not None
    assert time.process_time() - started < 3.0
