"""The examination of a client before it is attacked, on networks whose answers are known by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attacks.engines.choice import choose
from attacks.preflight import Preflight, examine
from attacks.preflight.inputs import inferred
from attacks.preflight.stand_in import stand_in
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from tests import zoo
from tests.attacks.clients import LENET, SMALL, Register, client


def examined(model: ModelSpec, training: ClientTraining | None = None, **facts: Any) -> Preflight:
    capture = stand_in(model, training or ClientTraining(), kind=facts.pop("kind", "gradient"))
    return examine(dataclasses.replace(capture, **facts))


def of_zoo(name: str, **facts: Any) -> Preflight:
    entry = zoo.ZOO[name]
    with zoo.in_table(entry):
        return examined(entry.spec, entry.training, **{"batch_size": entry.batch, **facts})


def test_a_plain_network_is_folded_and_its_numbers_are_counted() -> None:
    found = examined(LENET, batch_size=1)
    assert (found.refusal, found.steps, found.examples, found.contradictions) == ("", 1, 1, ())
    assert found.choice is not None
    assert (found.choice.engine, found.choice.draws, found.drawing) == ("folded", False, ())
    assert found.layers is not None
    assert len(found.layers.matched) == 8
    assert found.layers.numbers == sum(value.numel() for value in found.capture.parameters.values())
    rest = found.layers
    assert (rest.frozen, rest.unshared, rest.tied, rest.statistics) == ((), (), (), ())
    assert found.evaluation is not None
    assert found.evaluation.at_truth == found.evaluation.as_drawn < 1e-5
    assert found.evaluation.milliseconds > 0
    assert not found.evaluation.estimated
    assert found.labels == {"auto": 1.0, "weights": 1.0, "bias": 1.0, "counts": 1.0}


def test_what_the_client_does_with_each_parameter() -> None:
    frozen = of_zoo("frozen_by_client").layers
    assert frozen is not None
    assert frozen.frozen == ("0.weight", "0.bias", "3.bias")
    tied = of_zoo("tied_layers").layers
    assert tied is not None
    assert ("head.weight", "head_of_old.weight") in tied.tied
    norms = of_zoo("batch_norm", kind="delta", learning_rate=0.1, local_steps=1).layers
    assert norms is not None
    assert norms.statistics == ("1", "5")
    assert (found := of_zoo("batch_norm").layers) is not None
    assert found.statistics == ()


def test_a_parameter_that_the_update_lacks_is_told() -> None:
    capture, _ = client(kind="gradient", local_steps=1)
    lacking = {name: value for name, value in capture.update.items() if name != "head.bias"}
    found = examine(dataclasses.replace(capture, update=lacking))
    assert found.layers is not None
    assert found.layers.unshared == ("head.bias",)
    assert found.choice is not None
    assert found.choice.why_not_folded == "the update lacks head.bias"
    nothing = examine(dataclasses.replace(capture, update={}))
    assert "its update shares no parameter that the client trains" in nothing.refusal


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("mnist_example", ("dropout1", "dropout2")),
        ("lstm_rows", ("lstm",)),
        ("functional_dropout", ("",)),
        ("spectral_norm", ()),
    ],
)
def test_the_modules_that_draw_are_named(name: str, modules: tuple[str, ...]) -> None:
    found = of_zoo(name)
    assert found.drawing == modules
    assert found.choice is not None
    assert found.choice.draws == bool(modules)
    assert found.evaluation is not None
    assert found.evaluation.at_truth < 1e-5
    assert (found.evaluation.as_drawn > 1e-2) == bool(modules)


def test_a_rate_code_draws_from_a_stream_of_its_own() -> None:
    found = examined(ModelSpec("spiking_lenet", SMALL, spiking=SpikingSpec(timesteps=3, encoder="rate")))
    assert found.drawing == ("encoder",)
    assert found.evaluation is not None
    assert found.evaluation.at_truth < 1e-5 < found.evaluation.as_drawn


def test_a_large_client_is_estimated_from_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attacks.preflight.evaluation._LONGEST", 0.0)
    facts: dict[str, Any] = {"kind": "delta", "learning_rate": 0.1, "local_steps": 6, "batch_size": 8}
    few, many = examined(LENET, **{**facts, "local_steps": 2, "batch_size": 2}), examined(LENET, **facts)
    assert few.evaluation is not None
    assert many.evaluation is not None
    assert (few.evaluation.estimated, many.evaluation.estimated) == (False, True)
    assert (many.steps, many.examples) == (6, 48)
    copies = 3e-6 * sum(value.nbytes for value in many.capture.parameters.values())
    kept = few.evaluation.megabytes - copies, many.evaluation.megabytes - copies
    assert kept[1] == pytest.approx(4 * kept[0], rel=1e-3)


def test_the_graph_of_a_large_hidden_layer_is_counted(register: Register) -> None:
    """A sigmoid's output is kept at least once: a million numbers of 4 bytes."""
    wide = register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 4)))
    deep = register(lambda: nn.Sequential(nn.Upsample(scale_factor=64), nn.Sigmoid(), nn.AvgPool2d(128), nn.Flatten(),
                                          nn.Linear(16, 4)))  # fmt: skip
    found = examined(deep, batch_size=4)
    assert found.evaluation is not None
    assert 4.0 < found.evaluation.megabytes < 40.0
    register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 4)))
    assert (small := examined(wide, batch_size=4).evaluation) is not None
    assert small.megabytes < 0.1


def test_steps_and_contradictions_follow_from_the_facts() -> None:
    facts: dict[str, Any] = {"kind": "delta", "learning_rate": 0.1, "batch_size": 2}
    epochs = examined(LENET, **facts, epochs=3, num_examples=5)
    assert (epochs.steps, epochs.examples) == (9, 5)
    both = examined(LENET, **facts, local_steps=1, num_examples=5)
    assert "the client reports 5 examples, but 1 local steps of 2 use at most 2" in both.contradictions[0]
    neither = examined(LENET, kind="delta", learning_rate=0.1)
    assert (neither.steps, neither.layers) == (0, None)
    assert "needs the clients' number of local steps" in neither.refusal


# Refusals


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        slope: Tensor = 2 * ctx.saved_tensors[0] * slopes[0]
        return slope


class Changed(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.change = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 4), change

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.last(self.change(self.first(inputs)).flatten(1))
        return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: _Once.apply(x * 2), "no second derivative, since '_Once' in .* is marked once_differentiable"),
        (lambda x: x + 0.1 * torch.randn_like(x), "draw random numbers otherwise than by torch's dropout"),
        (lambda x: x[:, 9], r"IndexError.*test_preflight\.py, line \d+: .*x\[:, 9\]"),
        (lambda x: x.repeat(2, 1, 1, 1), "expected outputs of shape"),
    ],
)
def test_a_network_that_cannot_be_attacked_is_refused_with_the_reason(
    change: Callable[[Tensor], Tensor], words: str, register: Register
) -> None:
    spec = register(lambda: Changed(change))
    with pytest.raises(ConfigError, match=words):
        choose([dataclasses.replace(stand_in(spec, ClientTraining()), batch_size=2)])
    found = examined(spec, batch_size=2)
    assert found.refusal
    assert found.evaluation is None
    assert found.layers is not None


def test_tokens_that_are_taken_for_numbers_are_refused_with_advice() -> None:
    entry = zoo.ZOO["lstm_words"]
    with zoo.in_table(entry):
        refusal = examined(dataclasses.replace(entry.spec, input=InputSpec(1, 1, 7, 3)), batch_size=2).refusal
    assert "it reads whole numbers, such as tokens" in refusal
    assert "InputSpec(1, LENGTH, VOCABULARY, CLASSES, vocabulary=VOCABULARY)" in refusal


def test_a_network_that_reads_texts_is_replayed() -> None:
    found = of_zoo("lstm_words")
    assert found.refusal == ""
    assert found.choice is not None
    assert (found.choice.engine, found.choice.why_not_folded) == ("replayed", "it reads texts")
    assert found.labels["auto"] == found.labels["bias"] == 1.0


def test_one_example_is_too_few_for_a_batch_normalisation(register: Register) -> None:
    spec = register(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4)))
    assert "Say its batch size, or that its mode is eval" in examined(spec).refusal
    assert not examined(spec, batch_size=2).refusal
    assert not examined(spec, ClientTraining(mode="eval")).refusal


def test_hard_sigmoids_and_modules_of_one_precision_are_no_reason(register: Register) -> None:
    spec = register(lambda: Changed(lambda x: F.hardsigmoid(4 * x - 2, inplace=False)))
    found = examined(spec)
    assert found.choice is not None
    assert found.choice.engine == "replayed"
    single = torch.ones(4, 4, 1, 1)  # convolutions refuse two precisions
    convolved = register(lambda: Changed(lambda x: F.conv2d(x.sigmoid(), single)))
    assert not examined(convolved).refusal


# What the layers say of the inputs


def test_channels_and_classes_follow_from_the_layers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 28, 7))
    found = inferred(net, {})
    assert {key: value for key, (value, _) in found.items()} == {
        "channels": 3, "height": 32, "width": 32, "classes": 7,
    }  # fmt: skip
    assert "'3' (Linear)" in found["classes"][1]
    assert inferred(net, {"height": 32, "width": 32, "classes": 2}).keys() == {"channels"}


def test_a_network_of_any_size_does_not_say_its_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7))
    assert inferred(net, {}).keys() == {"channels", "classes"}


def test_a_row_of_numbers_is_as_wide_as_the_first_layer() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    assert {key: value for key, (value, _) in inferred(net, {}).items()} == {
        "channels": 1, "height": 1, "width": 48, "classes": 7,
    }  # fmt: skip
    assert inferred(net, {"height": 4, "width": 4})["channels"][0] == 3
    assert "channels" not in inferred(net, {"height": 5, "width": 4})
    assert inferred(nn.Sequential(nn.Flatten()), {}) == {}


def test_a_stand_in_is_what_a_server_would_see() -> None:
    entry = zoo.ZOO["frozen_layers"]
    with zoo.in_table(entry):
        real, *_ = zoo.capture_of(entry, 0)
        ours = stand_in(entry.spec, entry.training)
        delta, *_ = zoo.capture_of(entry, 0, kind="delta")
        changed = stand_in(entry.spec, entry.training, kind="delta")
        bare = stand_in(entry.spec, entry.training, kind="delta", buffers=False)
    assert (ours.update.keys(), ours.parameters.keys()) == (real.update.keys(), real.parameters.keys())
    assert changed.update.keys() == delta.update.keys()
    assert bare.parameters.keys() == bare.update.keys() < changed.parameters.keys()
    assert not any(value.any() for value in ours.update.values())


def test_a_stand_in_has_the_initialisation_of_its_spec() -> None:
    drawn, again = (stand_in(LENET, ClientTraining(), seed=1).parameters for _ in range(2))
    assert all(value.equal(again[name]) for name, value in drawn.items())
    assert max(float(value.abs().max()) for value in drawn.values()) > 0.4


def test_inputs_outside_of_nought_to_one_are_in_their_range() -> None:
    spec = ModelSpec("lenet", InputSpec(1, 8, 8, 4, low=-3.0, high=-2.0))
    assert not examined(spec).refusal
