"""Label recovery from the last layer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.idlg import IDLG
from attacks.reading.label_counts import refined
from attacks.reading.labels import LabelRule, read_labels, recover_labels
from attacks.reading.last_layer import LastLayer
from attacks.settings import IDLGSettings
from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of
from tests.attacks.clients import client
from tests.attacks.helpers import LENET, SMALL, SPIKING_LENET, captures_of, truth

RULES: list[LabelRule] = ["weights", "bias", "counts"]
Layer = Callable[[Tensor], Tensor]
BATCHES = [[3, 3], [0] * 8, [1, 1, 1, 2], [0, 1, 2, 3, 3, 3, 1], [2] * 12 + [0] * 4, [1, 3]]


def batch_of(model: ModelSpec, labels: Sequence[int], *, seed: int = 0) -> CapturedUpdate:
    """Return the captured gradient of one batch of random inputs with these labels."""
    inputs = truth(len(labels), model.input, seed=seed)[0]
    one = inputs.transpose(0, -4)[0]  # (V, 1, ...) -> (V, ...), or (V, T, 1, ...) -> (T, V, ...)
    return capture_gradient(model, parameters_of(build_model(model, seed=seed)), one, torch.tensor(sorted(labels)))


class Net(nn.Module):
    """Two linear layers, of which the head is registered first."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        bias: bool = True,
        activation: Layer = torch.sigmoid,
        output: Layer | None = None,
        hidden: int = 4,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(hidden, spec.input.classes, bias=bias)
        self.body = nn.Linear(spec.input.channels * spec.input.height * spec.input.width, hidden)
        self.activation, self.output = activation, output

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.activation(self.body(inputs.flatten(1))))
        return logits if self.output is None else self.output(logits)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelSpec]:
    """Return a function that enters a `Net` of these settings in the table, and returns a spec of it."""

    def enter(**settings: Any) -> ModelSpec:
        builder = functools.partial(Net, **settings)
        monkeypatch.setitem(MODELS, "net", ModelEntry(builder, spiking=False, summary="a head that comes first"))
        return ModelSpec("net", SMALL)

    return enter


@pytest.mark.parametrize("rule", [*RULES, "auto"])
def test_every_rule_reads_the_label_of_one_example(rule: LabelRule) -> None:
    inputs, labels = truth(20)
    for capture, expected in zip(captures_of(LENET, inputs, labels), labels, strict=True):
        assert recover_labels(capture, rule=rule).equal(expected)


def test_bias_and_counts_read_labels_through_a_silent_last_layer() -> None:
    """With torch's init the last spiking layer is silent: its weight gradient is 0 and says nothing."""
    silent = replace(SPIKING_LENET, init="torch")
    inputs, labels = truth(12)
    captures = captures_of(silent, inputs * 0.05, labels)
    assert all(not capture.update["head.weight"].any() for capture in captures)
    rules: list[LabelRule] = [*RULES, "auto"]
    found = {rule: torch.stack([recover_labels(one, rule=rule) for one in captures]) for rule in rules}
    assert found["bias"].equal(labels)
    assert found["counts"].equal(labels)
    assert not found["weights"].equal(labels)
    assert found["auto"].equal(found["weights"])


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_with_all_labels_different(rule: LabelRule) -> None:
    assert recover_labels(batch_of(LENET, [3, 0, 1]), rule=rule).tolist() == [0, 1, 3]


@pytest.mark.parametrize("labels", BATCHES, ids=str)
@pytest.mark.parametrize(
    "model",
    [
        replace(LENET, init="torch"),
        SPIKING_LENET,
        replace(SPIKING_LENET, spiking=SpikingSpec(timesteps=6, neuron="lif", readout="membrane")),
        replace(SPIKING_LENET, spiking=SpikingSpec(timesteps=6, readout="spikes")),
        replace(SPIKING_LENET, input=InputSpec(2, 8, 8, 4, timesteps=5), spiking=SpikingSpec(timesteps=5)),
    ],
    ids=["lenet", "if", "lif", "firing", "events"],
)
def test_classes_are_counted_in_batches_that_repeat_them(model: ModelSpec, labels: list[int]) -> None:
    """The bias gradients of the last layers differ by a factor: 1, (T+1)/2, that of a leak, and that of a surrogate."""
    capture = batch_of(model, labels)
    assert recover_labels(capture, rule="counts").tolist() == sorted(labels)
    assert recover_labels(capture, rule="auto").tolist() == sorted(labels)


@pytest.mark.parametrize("labels", BATCHES, ids=str)
def test_counts_are_exact_where_the_probabilities_are_known(
    register: Callable[..., ModelSpec], labels: list[int]
) -> None:
    """Without weights in the last layer, p_c is the softmax of the bias for every input: n_c = N (p_c - g_c)."""
    net = register()
    parameters = parameters_of(build_model(net, seed=0))
    parameters["head.weight"].zero_()
    parameters["head.bias"] = torch.tensor([3.0, -1.0, 0.0, 1.0])
    counts = torch.bincount(torch.tensor(labels), minlength=4)
    gradient = parameters["head.bias"].softmax(0) - counts / len(labels)
    capture = capture_gradient(net, parameters, torch.rand(len(labels), 1, 8, 8), torch.tensor(labels))
    torch.testing.assert_close(capture.update["head.bias"], gradient, rtol=0, atol=1e-6)
    assert recover_labels(capture, rule="counts").tolist() == sorted(labels)


def test_the_two_old_rules_are_wrong_if_a_class_occurs_twice_or_has_a_large_probability(
    register: Callable[..., ModelSpec],
) -> None:
    net = register()
    parameters = parameters_of(build_model(net, seed=0))
    parameters["head.weight"].zero_()
    parameters["head.bias"] = torch.tensor([3.0, 0.0, 0.0, 0.0])  # p_0 = 0.87 > 1/2
    capture = capture_gradient(net, parameters, torch.rand(2, 1, 8, 8), torch.tensor([0, 2]))
    assert recover_labels(capture, rule="bias").tolist() != [0, 2]
    assert recover_labels(capture, rule="weights").tolist() != [0, 2]
    assert recover_labels(capture, rule="counts").tolist() == [0, 2]
    assert len(set(recover_labels(batch_of(LENET, [3, 3]), rule="bias").tolist())) == 2


def test_one_example_is_counted_whatever_its_probabilities() -> None:
    """Weights and bias tell its features, so its own probabilities; those of dummy inputs are far from them."""
    inputs, labels = truth(20)
    trained = [
        replace(capture, parameters={name: 4 * value for name, value in capture.parameters.items()})
        for capture in captures_of(replace(LENET, init="torch"), inputs, labels)
    ]
    captures = [capture_gradient(one.model, one.parameters, inputs[at], labels[at]) for at, one in enumerate(trained)]
    assert torch.stack([recover_labels(capture, rule="counts") for capture in captures]).equal(labels)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("output", [None, functools.partial(F.log_softmax, dim=-1)], ids=["logits", "logarithms"])
def test_a_head_that_is_not_registered_last_is_found(
    register: Callable[..., ModelSpec], rule: LabelRule, output: Layer | None
) -> None:
    """The hidden layer has as many units as there are classes, and is registered after the head."""
    net, (inputs, labels) = register(output=output), truth(20)
    found = [recover_labels(one, rule=rule) for one in captures_of(net, inputs, labels)]
    assert torch.stack(found).equal(labels)


@pytest.mark.parametrize("rule", RULES)
def test_two_classes_and_a_hidden_layer_of_two_units(register: Callable[..., ModelSpec], rule: LabelRule) -> None:
    spec = replace(register(hidden=2), input=replace(SMALL, classes=2))
    inputs, labels = truth(20, spec.input)
    found = [recover_labels(one, rule=rule) for one in captures_of(spec, inputs, labels)]
    assert torch.stack(found).equal(labels)


@pytest.mark.parametrize("labels", BATCHES, ids=str)
def test_without_a_bias_classes_are_counted_by_features_that_hardly_vary(
    register: Callable[..., ModelSpec], labels: list[int]
) -> None:
    net = replace(register(bias=False), init="torch")
    assert recover_labels(batch_of(net, labels), rule="counts").tolist() == sorted(labels)


def test_what_is_missing_is_said(register: Callable[..., ModelSpec]) -> None:
    capture = batch_of(register(bias=False, activation=torch.relu), [1, 1])
    with pytest.raises(ConfigError, match=r"'head.weight' has no bias, and its features vary by \d+ %"):
        recover_labels(capture, rule="auto")
    with pytest.raises(ConfigError, match="'bias' needs a bias of a last layer with 4 outputs"):
        recover_labels(capture, rule="bias")
    headless = replace(capture, update={name: g for name, g in capture.update.items() if "head" not in name})
    with pytest.raises(ConfigError, match="'counts' needs a bias or weights"):
        recover_labels(headless, rule="counts")
    with pytest.raises(ConfigError, match="'weights' needs weights"):
        recover_labels(headless, rule="weights")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_an_update_that_is_not_finite_still_gives_as_many_labels_as_examples(value: float) -> None:
    capture = batch_of(LENET, [1, 1, 2])
    broken = replace(capture, update={name: torch.full_like(g, value) for name, g in capture.update.items()})
    for rule in RULES:
        assert len(recover_labels(broken, rule=rule)) == 3


def test_the_attack_counts_by_default_in_batches() -> None:
    capture = batch_of(replace(LENET, init="torch"), [2, 2, 3])
    settings = IDLGSettings(iterations=0)
    assert settings.label_rule == "auto"
    (found,) = IDLG(settings).reconstruct([capture], seed=0)
    assert found.labels.tolist() == [2, 2, 3]
    (old,) = IDLG(IDLGSettings(iterations=0, label_rule="weights")).reconstruct([capture], seed=0)
    assert len(set(old.labels.tolist())) == 3


def unsure(spec: ModelSpec) -> CapturedUpdate:
    """Return the gradient of a batch of a model whose probabilities differ much from input to input."""
    parameters = parameters_of(build_model(spec, seed=1))
    steep = {name: 20.0 * tensor if name.endswith("weight") else tensor for name, tensor in parameters.items()}
    inputs = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return replace(capture_gradient(spec, steep, inputs, torch.tensor([0, 1, 2, 3])), id="unsure")


def test_a_count_is_certain_where_every_estimate_gives_it(register: Callable[..., ModelSpec]) -> None:
    sure = read_labels(batch_of(replace(LENET, init="torch"), [3, 0, 1, 1]), rule="auto")
    assert (sure.labels.tolist(), sure.certain) == ([0, 1, 1, 3], True)
    capture = unsure(register())
    wrong = read_labels(capture, rule="auto")
    assert (wrong.labels.tolist(), wrong.certain) == ([1, 2, 3, 3], False)
    assert IDLG().labels([capture]) is None
    assert IDLG(IDLGSettings(label_rule="counts")).labels([capture]) is not None


def test_labels_that_are_not_certain_are_optimised_beside_others_that_are(register: Callable[..., ModelSpec]) -> None:
    spec, settings = register(), IDLGSettings(iterations=3)
    captures = [replace(batch_of(spec, [3, 0, 1, 1], seed=seed), id=f"sure {seed}") for seed in (1, 2)]
    captures.insert(1, unsure(spec))
    assert [IDLG().labels([capture]) is None for capture in captures] == [False, True, False]
    found = IDLG(settings).reconstruct(captures, seed=0)
    assert [one.capture_id for one in found] == ["sure 1", "unsure", "sure 2"]
    assert [one.labels.tolist() for one in found[::2]] == [[0, 1, 1, 3]] * 2
    (fixed,) = IDLG(IDLGSettings(iterations=3, label_rule="counts")).reconstruct([captures[1]], seed=0)
    assert not found[1].inputs.equal(fixed.inputs)
    assert found[1].labels.tolist() == [1, 2, 3, 3]  # no match after three steps, so the search names no better ones


def test_features_and_counts_of_equal_examples_agree() -> None:
    """All examples of a class have its mean features, so that the right counts are where the iteration stays."""
    model = ModelSpec("mlp", SMALL, "uniform", hidden=40)
    pictures, labels = truth(3)[0][:, 0], torch.tensor([0, 0, 0, 0, 1, 3, 3, 3])
    inputs = pictures[torch.tensor([0, 0, 0, 0, 1, 2, 2, 2])]
    capture = capture_gradient(model, parameters_of(build_model(model, seed=0)), inputs, labels)
    layer, counts = LastLayer(capture), torch.bincount(labels, minlength=4)
    surplus, rows = capture.update["head.bias"].double(), capture.update["head.weight"].double()
    for start in (counts, torch.tensor([3, 2, 0, 3])):
        found = refined(start, layer, surplus, rows)
        assert found.counts.equal(counts)
        assert float(found.missed.abs().max()) < 0.1


def test_momentum_over_several_steps_is_no_larger_gradient() -> None:
    """With a tiny learning rate the gradients of all steps are those at the parameters that were sent."""
    training, spec = ClientTraining(momentum=0.9), replace(LENET, init="torch")
    facts: dict[str, Any] = {
        "learning_rate": 1e-4,
        "local_steps": None,
        "epochs": 4,
        "batch_size": 6,
        "num_examples": 12,
    }
    capture, (_, labels) = client(training, model=spec, **facts)
    assert recover_labels(capture, rule="auto").tolist() == labels.sort().values.tolist()
    assert (
        recover_labels(replace(capture, training=ClientTraining()), rule="auto").tolist()
        != labels.sort().values.tolist()
    )
