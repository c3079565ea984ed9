"""The attack without a search."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks import ATTACKS, build_attack, exact
from attacks.contracts import Reconstruction, StopReason
from attacks.testing.victims import EVENTS, MLP, SPIKING_MLP
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from tests import zoo
from tests.attacks.clients import Register
from tests.attacks.helpers import LENET, captures_of, truth, with_noise

DIRECT = replace(SPIKING_MLP, spiking=SpikingSpec(timesteps=4))


def answer_to(capture: CapturedUpdate, **settings: bool | int) -> Reconstruction:
    (answer,) = build_attack("exact", settings).reconstruct([capture], seed=0)
    return answer


@pytest.mark.parametrize("model", [MLP, DIRECT], ids=["mlp", "spiking_mlp"])
def test_single_examples_are_named_to_the_last_digits(model: ModelSpec) -> None:
    inputs, labels = truth(5, model.input)
    answers = build_attack("exact", {}).reconstruct(captures_of(model, inputs, labels), seed=0)
    for answer, expected, label in zip(answers, inputs, labels, strict=True):
        torch.testing.assert_close(answer.inputs, expected, rtol=1e-4, atol=1e-5)
        assert answer.labels.equal(label)
        assert answer.stop_reason is StopReason.CONVERGED
        assert answer.matching_loss < 1e-10


def test_where_there_is_no_closed_form_the_answer_is_grey_with_labels() -> None:
    inputs, labels = truth(2)
    wide = replace(LENET, input=replace(LENET.input, low=-1.0, high=2.0))
    for capture in (
        *captures_of(wide, inputs[:1], labels[:1]),
        *captures_of(wide, inputs[:, 0][None], labels[:, 0][None]),
    ):
        answer = answer_to(capture)
        assert set(answer.inputs.flatten().tolist()) == {0.5}
        assert answer.labels.equal(labels[: len(answer.inputs), 0].sort().values)
        assert answer.stop_reason is StopReason.NOT_ATTEMPTED
        assert answer.matching_loss == 1.0


def test_recordings_are_left_empty() -> None:
    model = ModelSpec("spiking_mlp", EVENTS, "torch", SpikingSpec(timesteps=6), hidden=12)
    (capture,) = captures_of(model, *truth(1, EVENTS))
    answer = answer_to(capture)
    assert answer.inputs.shape == (6, 1, *EVENTS.frame)
    assert not answer.inputs.any()
    assert answer.stop_reason is StopReason.NOT_ATTEMPTED


def test_noise_and_a_rate_code_stall() -> None:
    inputs, labels = truth(1, MLP.input)
    (noisy,) = with_noise(captures_of(MLP, inputs, labels), 0.2)
    rate = replace(SPIKING_MLP, spiking=SpikingSpec(timesteps=4, encoder="rate"))
    for capture in (noisy, *captures_of(rate, inputs, labels)):
        answer = answer_to(capture)
        assert answer.stop_reason is StopReason.STALLED
        assert answer.matching_loss > 1e-6
        assert 0.0 <= float(answer.inputs.min()) <= float(answer.inputs.max()) <= 1.0


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.2, 0.3)])
def test_without_a_bias_a_picture_of_full_contrast_is_found(mean: float, std: float, register: Register) -> None:
    spec = InputSpec(1, 8, 8, 4)
    model = register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.Tanh(), nn.Linear(9, 4)))
    inputs, labels = truth(1, spec)
    inputs.view(-1)[:2] = torch.tensor([0.0, 1.0])
    (capture,) = captures_of(model, (inputs - mean) / std, labels)
    answer = answer_to(replace(capture, training=ClientTraining(mean=mean, std=std)))
    torch.testing.assert_close(answer.inputs, inputs[0], rtol=1e-3, atol=1e-3)


def test_labels_that_cannot_be_read_are_not_named() -> None:
    (capture,) = captures_of(MLP, *truth(1, MLP.input))
    inner = {name: g for name, g in capture.update.items() if not name.startswith("head")}
    assert answer_to(replace(capture, update=inner)).labels.tolist() == [-1]


def test_what_is_refused() -> None:
    (capture,) = captures_of(MLP, *truth(1, MLP.input))
    with pytest.raises(ConfigError, match="learning rate"):
        answer_to(replace(capture, kind="delta"))
    with pytest.raises(ConfigError, match="memory_mb"):
        answer_to(replace(capture, batch_size=10**6, num_examples=10**6), memory_mb=16)


def test_it_says_that_it_searches_for_nothing() -> None:
    entry = ATTACKS["exact"]
    assert (entry.adversary, entry.draws, entry.matching) == ("A", False, False)


@pytest.mark.parametrize(("name", "target"), [("regression", 0.37), ("regression", -4.5), ("logistic_regression", 1.0)])
def test_the_target_of_one_output_follows_from_the_input(name: str, target: float) -> None:
    entry = zoo.ZOO[name]
    with zoo.in_table(entry):
        inputs, _ = zoo.examples_of(entry, 0, 1)
        capture, _, labels = zoo.capture_of(entry, 0, examples=(inputs, torch.tensor([target])))
        (answer,) = build_attack("exact").reconstruct([capture], seed=0)
    assert torch.allclose(answer.inputs, inputs, atol=1e-5)
    assert torch.allclose(answer.labels.float(), labels.float(), atol=1e-4)
    assert answer.labels.is_floating_point() == (name == "regression")


def test_a_model_that_no_engine_takes_keeps_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[float]:
        raise ConfigError("draws random numbers")

    monkeypatch.setattr(exact, "mismatches", refuse)
    entry = zoo.ZOO["regression"]
    with zoo.in_table(entry):
        capture, inputs, _ = zoo.capture_of(entry, 0, 1)
        (answer,) = build_attack("exact").reconstruct([capture], seed=0)
    assert torch.allclose(answer.inputs, inputs, atol=1e-5)
    assert answer.labels.tolist() == [-1]
