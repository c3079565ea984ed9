"""That the zoo's networks are sound: plain torch trains each of them, so that an attack that fails has no excuse."""

from __future__ import annotations

import dataclasses
import fnmatch

import pytest
import safetensors.torch
import torch

from fl_sim.client_steps import trainable
from fl_sim.losses import normalised
from fl_sim.models import MODELS, build_model
from fl_sim.records import record_bytes
from fl_sim.tokens import as_read
from tests import zoo
from tests.zoo.clients import LEARNING_RATE, seeded, state_of
from tests.zoo.derivatives import derivative_of_gradient, second_derivatives

SEED = 0


@pytest.fixture(params=list(zoo.ZOO))
def entry(request: pytest.FixtureRequest) -> zoo.ZooEntry:
    found: zoo.ZooEntry = zoo.ZOO[request.param]
    return installed(found)


def installed(entry: zoo.ZooEntry) -> zoo.ZooEntry:
    if not zoo.is_installed(entry):
        pytest.skip(f"{entry.needs} is not installed; pip install '.[dev]' installs it")
    return entry


def in_both_modes() -> dict[str, zoo.ZooEntry]:
    """Return the entries with their clients in train and in eval mode; those that differ in nothing else once."""
    found: dict[object, tuple[str, zoo.ZooEntry]] = {}
    for entry in zoo.ZOO.values():
        for mode in ("train", "eval"):
            training = entry.training.model_copy(update={"mode": mode})
            client = (entry.builder, entry.input, training.model_dump_json())
            found.setdefault(client, (f"{entry.name}-{mode}", dataclasses.replace(entry, training=training)))
    return dict(found.values())


IN_BOTH_MODES = in_both_modes()


@pytest.mark.parametrize("name", IN_BOTH_MODES)
def test_a_client_trains_it(name: str) -> None:
    """The gradient is finite and not zero, and a step of SGD with learning rate 0.1 is -0.1 times the gradient."""
    entry = installed(IN_BOTH_MODES[name])
    batch = max(2, entry.batch)  # of one example, batch normalisation has no variance
    gradient, inputs, labels = zoo.capture_of(entry, SEED, batch)
    delta, *_ = zoo.capture_of(entry, SEED, batch, kind="delta")
    module = zoo.network_of(entry, SEED).train(entry.training.mode == "train")
    with torch.no_grad(), seeded(SEED, "client"):
        read = as_read(inputs, entry.input)
        outputs = module(normalised(entry.training, read)).reshape(len(labels), -1)
    one_logit = entry.training.loss == "bce_with_logits" and entry.input.classes == 2
    assert outputs.shape == (batch, 1 if one_logit else entry.input.classes)
    assert outputs.isfinite().all()
    assert gradient.update.keys() == trainable(module, entry.training).keys()
    assert delta.update.keys() == module.state_dict().keys()
    assert all(value.isfinite().all() for value in [*gradient.update.values(), *delta.update.values()])
    assert any(value.any() for value in gradient.update.values())
    for key, value in gradient.update.items():
        # what is left of a small difference between large weights
        near = 1e-6 * (1.0 + float(gradient.parameters[key].abs().max()))
        assert torch.allclose(delta.update[key], -LEARNING_RATE * value, rtol=1e-4, atol=near), key


def test_its_gradient_can_be_differentiated(entry: zoo.ZooEntry) -> None:
    """By its input, and where torch has no second derivative, the entry says of what; all parameters take part."""
    module = zoo.network_of(entry, SEED)
    inputs, labels = zoo.examples_of(entry, SEED, entry.batch)
    if entry.once:
        with pytest.raises(RuntimeError, match=f"derivative for aten::{entry.once} is not implemented"):
            derivative_of_gradient(entry, module, inputs, labels)
        with second_derivatives():
            found = derivative_of_gradient(entry, module, inputs, labels)
    else:
        found = derivative_of_gradient(entry, module, inputs, labels)
    assert found.shape[: inputs.dim()] == inputs.shape
    assert found.isfinite().all()
    assert found.any()


def test_every_trained_parameter_has_a_gradient(entry: zoo.ZooEntry) -> None:
    """Other than those that the entry names: a spiking network whose layers are silent would prove nothing."""
    capture, *_ = zoo.capture_of(entry, SEED)
    patterns = entry.still.split()
    still = {name for name in capture.update if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    assert {name for name, value in capture.update.items() if not value.any()} == still


def test_the_table_of_models_builds_it(entry: zoo.ZooEntry) -> None:
    """From the parameters in a capture, for as long as the entry is in the table."""
    parameters = state_of(zoo.network_of(entry, SEED))
    before = set(MODELS)
    with zoo.in_table(entry):
        module = build_model(entry.spec, parameters=parameters)
    assert set(MODELS) == before
    module.load_state_dict(parameters)


def test_operations_that_are_written_out_have_the_same_gradient() -> None:
    for name in ("mobilenet", "small_vit_eval"):
        plain, *_ = zoo.capture_of(zoo.ZOO[name], SEED)
        with second_derivatives():
            written, *_ = zoo.capture_of(zoo.ZOO[name], SEED)
        norm, error = (
            torch.stack([value.square().sum() for value in values]).sum().sqrt()
            for values in (
                list(plain.update.values()),
                [value - written.update[key] for key, value in plain.update.items()],
            )
        )
        assert 0 < error + norm < (1 + 1e-5) * norm, name


# Captures


def test_a_capture_follows_its_seed() -> None:
    entry = zoo.ZOO["mnist_example"]  # it drops out
    first, again, other = (zoo.capture_of(entry, seed)[0] for seed in (0, 0, 1))
    for name, value in first.update.items():
        assert value.equal(again.update[name])
        assert not value.equal(other.update[name])


def test_a_delta_holds_what_buffers_learn() -> None:
    """Batch normalisation counts the batch, and moves its mean by a tenth towards that of the batch."""
    entry = zoo.ZOO["batch_norm"]
    capture, inputs, labels = zoo.capture_of(entry, SEED, 5, kind="delta")
    assert (capture.num_examples, capture.batch_size, len(labels)) == (5, 5, 5)
    assert capture.parameters["1.running_mean"].count_nonzero() == 0
    assert int(capture.update["1.num_batches_tracked"]) == 1
    weight, bias = capture.parameters["0.weight"], capture.parameters["0.bias"]
    currents = torch.nn.functional.conv2d(inputs, weight, bias, padding=1)
    assert torch.allclose(capture.update["1.running_mean"], 0.1 * currents.mean((0, 2, 3)), atol=1e-6)


def test_frozen_parameters_are_sent_and_do_not_come_back() -> None:
    for name, still in (("frozen_layers", "0.weight"), ("frozen_by_client", "3.bias")):
        gradient, *_ = zoo.capture_of(zoo.ZOO[name], SEED)
        delta, *_ = zoo.capture_of(zoo.ZOO[name], SEED, kind="delta")
        assert still in gradient.parameters
        assert still not in gradient.update
        assert not delta.update[still].any()


def test_a_capture_of_tied_weights_can_be_written() -> None:
    """Both names of a weight are in it, each with a tensor of its own: a file of safetensors has no shared ones."""
    capture, *_ = zoo.capture_of(zoo.ZOO["tied_layers"], SEED, kind="delta")
    assert capture.parameters["head.weight"].equal(capture.parameters["head_of_old.weight"])
    written = safetensors.torch.load(record_bytes(capture))
    for name, value in capture.update.items():
        assert value.equal(written[f"update/{name}"])
