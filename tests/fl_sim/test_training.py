"""A client's local work against autograd and against formulae worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import (
    accuracy,
    capture_gradient,
    gradient,
    gradient_and_loss,
    load_parameters,
    local_sgd,
    parameters_of,
)

SMALL = InputSpec(1, 8, 8, 4)
MODELS = {
    "lenet": ModelSpec("lenet", SMALL),
    "spiking_lenet": ModelSpec("spiking_lenet", SMALL, "torch", SpikingSpec(timesteps=3)),
}


class Linear(nn.Module):
    """Two inputs, two classes, no bias, weights 0: every class has probability 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight.T


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 1, 8, 8, generator=generator), torch.tensor([0, 3, 1])


def test_the_gradient_by_hand() -> None:
    """d/dw of cross-entropy is (p - onehot) x; p = 1/2 and x = (1, 3), label 1."""
    gradients = gradient(Linear(), torch.tensor([[1.0, 3.0]]), torch.tensor([1]))
    assert gradients["weight"].tolist() == [[0.5, 1.5], [-0.5, -1.5]]


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_autograds_by_name_and_leaves_no_trace(name: str, batch: tuple[Tensor, Tensor]) -> None:
    model, witness = build_model(MODELS[name], seed=1), build_model(MODELS[name], seed=1)
    gradients = gradient(model, *batch)
    F.cross_entropy(witness(batch[0]), batch[1]).backward()  # type: ignore[no-untyped-call]
    expected = {key: parameter.grad for key, parameter in witness.named_parameters()}
    assert list(gradients) == list(expected)
    for key, value in gradients.items():
        torch.testing.assert_close(value, expected[key])
        assert not value.requires_grad
    assert any(bool(value.any()) for value in gradients.values())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_gradient_of_a_batch_is_the_mean_of_its_examples(batch: tuple[Tensor, Tensor]) -> None:
    model = build_model(MODELS["lenet"], seed=1)
    whole = gradient(model, *batch)
    each = [gradient(model, batch[0][i : i + 1], batch[1][i : i + 1]) for i in range(3)]
    for key, value in whole.items():
        torch.testing.assert_close(value, torch.stack([one[key] for one in each]).mean(dim=0))


def test_one_step_is_the_weights_minus_the_rate_times_the_gradient(batch: tuple[Tensor, Tensor]) -> None:
    model = build_model(MODELS["lenet"], seed=1)
    before, gradients = parameters_of(model), gradient(model, *batch)
    loss = local_sgd(model, [batch], learning_rate=0.25)
    for key, value in parameters_of(model).items():
        assert value.equal(before[key] - 0.25 * gradients[key])
    load_parameters(model, before)
    assert loss == pytest.approx(F.cross_entropy(model(batch[0]), batch[1]).item())  # of the weights before the step


def test_a_step_needs_one_forward_pass(batch: tuple[Tensor, Tensor]) -> None:
    model = build_model(MODELS["lenet"], seed=1)
    passes: list[int] = []
    model.register_forward_hook(lambda *_: passes.append(1))
    local_sgd(model, [batch] * 3, learning_rate=0.1)
    assert len(passes) == 3


def test_the_loss_is_that_of_the_draw_whose_gradient_is_taken() -> None:
    """Two classes, bias only, both logits 0 and then set by the call's number: the loss tells which call it is of."""

    class Drawn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(2))
            self.calls = 0

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            return (self.bias + torch.tensor([0.0, float(self.calls)])).expand(len(inputs), 2)

    gradients, loss = gradient_and_loss(Drawn(), torch.zeros(1, 1), torch.tensor([1]))
    p = 1.0 / (1.0 + math.exp(-1.0))
    assert loss.item() == pytest.approx(-math.log(p))
    assert gradients["bias"].tolist() == pytest.approx([1 - p, p - 1])
    assert not loss.requires_grad


def test_many_steps_are_torchs_sgd(batch: tuple[Tensor, Tensor]) -> None:
    model, witness = build_model(MODELS["lenet"], seed=1), build_model(MODELS["lenet"], seed=1)
    batches = [(batch[0][i : i + 1], batch[1][i : i + 1]) for i in range(3)]
    optimiser = torch.optim.SGD(witness.parameters(), lr=0.5)
    losses = []
    for inputs, labels in batches:
        optimiser.zero_grad()
        loss = F.cross_entropy(witness(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimiser.step()
    assert local_sgd(model, batches, learning_rate=0.5) == pytest.approx(sum(losses) / 3)
    for key, value in parameters_of(witness).items():
        torch.testing.assert_close(parameters_of(model)[key], value)


def test_the_proximal_term_pulls_back_to_the_weights_that_were_sent() -> None:
    """Two steps on x = (1, 0), label 1, with rate 1 and mu = 1/2; the server sent zeros.

    First step: the weights of x's first feature become -1/2 and 1/2, the term is 0. The margin is now 1, so the
    second gradient is (p, -p) with p = 1 - sigmoid(1), and the term is half of the weights.
    """
    model = Linear()
    batches = [(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))] * 2
    local_sgd(model, batches, learning_rate=1.0, proximal_mu=0.5)
    p = 1.0 - 1.0 / (1.0 + math.exp(-1.0))
    second = -0.5 - p + 0.25
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[second, 0.0], [-second, 0.0]]))


def test_without_the_term_or_for_one_step_mu_changes_nothing(batch: tuple[Tensor, Tensor]) -> None:
    plain, proximal = build_model(MODELS["lenet"], seed=1), build_model(MODELS["lenet"], seed=1)
    local_sgd(plain, [batch], learning_rate=0.1)
    local_sgd(proximal, [batch], learning_rate=0.1, proximal_mu=10.0)
    assert all(value.equal(parameters_of(proximal)[key]) for key, value in parameters_of(plain).items())


def test_parameters_come_back_as_a_copy_and_are_cast_to_the_models_dtype() -> None:
    model = build_model(MODELS["lenet"], seed=1)
    sent = {key: value.double() + 1.0 for key, value in parameters_of(model).items()}
    kept = parameters_of(model)
    load_parameters(model, sent)
    for key, value in parameters_of(model).items():
        assert value.dtype == torch.float32
        assert value.equal(sent[key].float())
        assert not value.equal(kept[key])
    with pytest.raises(KeyError):
        load_parameters(model, {})


def test_accuracy_counts_the_last_short_batch_too() -> None:
    inputs = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0])]
    labels = torch.tensor([0, 1, 0, 3, 1])
    model = nn.Identity()
    for batch_size in (1, 2, 5, 500):
        assert accuracy(model, inputs, labels, batch_size=batch_size) == 3 / 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_a_capture_without_a_federation(name: str, dtype: torch.dtype, batch: tuple[Tensor, Tensor]) -> None:
    model = build_model(MODELS[name], seed=2).to(dtype)
    parameters = parameters_of(model)
    capture = capture_gradient(MODELS[name], parameters, batch[0].to(dtype), batch[1], capture_id="me/r001-c002")
    expected = gradient(model, batch[0].to(dtype), batch[1])
    assert (capture.id, capture.kind, capture.local_steps) == ("me/r001-c002", "gradient", 1)
    assert (capture.batch_size, capture.num_examples, capture.model) == (3, 3, MODELS[name])
    assert capture.labels is None
    for key, value in expected.items():
        assert capture.update[key].equal(value)
        assert capture.update[key].dtype == dtype
        assert capture.parameters[key].equal(parameters[key])
        assert capture.parameters[key].data_ptr() != parameters[key].data_ptr()
