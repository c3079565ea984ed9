"""The replayed training is the client's: its update at the truth, and its derivatives everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from attacks.engines.choice import choose
from attacks.engines.truth import mismatch
from attacks.replay.engine import ReplayedClients
from attacks.replay.together import ReplayedTogether
from fl_sim.client_training import ClientTraining
from fl_sim.losses import targets_of
from fl_sim.models import MODELS, ModelEntry
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from tests.attacks.clients import SMALL, client

TRAININGS = {
    "plain": ClientTraining(),
    "momentum": ClientTraining(momentum=0.9, dampening=0.1),
    "nesterov": ClientTraining(momentum=0.9, nesterov=True),
    "weight decay": ClientTraining(weight_decay=0.1),
    "adam": ClientTraining(optimiser="adam", weight_decay=0.01),
    "clipped": ClientTraining(clip_norm=0.5),
    "proximal": ClientTraining(proximal_mu=2.0),
    "summed": ClientTraining(reduction="sum", loss_scale=0.5),
    "smoothed": ClientTraining(label_smoothing=0.2),
    "values": ClientTraining(loss="mse"),
    "logits": ClientTraining(loss="bce_with_logits"),
    "frozen": ClientTraining(frozen="0.*"),
    "normalised": ClientTraining(mean=0.3, std="0.2"),
}


class Normed(nn.Module):
    """A network with batch normalisation whose statistics the update shares."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3 * 36, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.last(self.norm(self.first(inputs)).sigmoid().flatten(1))
        return logits


@pytest.fixture
def normed(monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Return the spec of `Normed`, which is in the table for the test."""
    monkeypatch.setitem(MODELS, "normed", ModelEntry(lambda _: Normed(), spiking=False, summary="with a norm"))
    return ModelSpec("normed", SMALL, "torch")


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("facts", [{}, {"local_steps": None, "epochs": 2, "batch_size": 2, "num_examples": 3}],
                         ids=["2 steps of 1", "2 epochs of 2 + 1"])  # fmt: skip
def test_the_loss_at_the_truth_is_zero(training: ClientTraining, facts: dict[str, Any]) -> None:
    capture, truth = client(training, **facts)
    alone = training.clip_norm or training.loss
    assert choose([capture]).engine == ("replayed" if alone else "replayed together")
    assert mismatch(capture, *truth) < 1e-3
    inputs, labels = truth
    assert mismatch(capture, 1.0 - inputs, labels) > 0.01


@pytest.mark.parametrize("training", [TRAININGS["plain"], TRAININGS["momentum"], TRAININGS["adam"]])
def test_the_derivative_is_that_of_finite_differences(training: ClientTraining) -> None:
    capture, (inputs, labels) = client(training, local_steps=3, num_examples=3)
    engine = ReplayedClients([capture], device="cpu", precision=torch.float64)
    at = (0.8 * inputs + 0.1).double()[None].requires_grad_()
    targets = targets_of(training, labels, 4).double()[None].requires_grad_()
    slopes = torch.autograd.grad(engine.distances(at, targets).sum(), [at, targets])
    for place, point, slope in ((0, at, slopes[0]), (1, targets, slopes[1])):
        direction = torch.randn(point.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ends = []
        for sign in (1.0, -1.0):
            moved = [at.detach(), targets.detach()]
            moved[place] = moved[place] + sign * 1e-6 * direction
            ends.append(float(engine.distances(moved[0], moved[1])[0]))
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((slope * direction).sum()), rel=1e-4)


def test_running_statistics_are_part_of_the_update(normed: ModelSpec) -> None:
    capture, (inputs, labels) = client(model=normed, local_steps=1, batch_size=2)
    assert mismatch(capture, inputs, labels) < 1e-3
    parameters_only = {name: value for name, value in capture.update.items() if "norm.running" not in name}
    without = dataclasses.replace(capture, update=parameters_only)
    shifted = inputs + 0.2  # the norm removes a shift of all pixels, and the running mean tells it
    assert mismatch(without, shifted, labels) < 0.5 * mismatch(capture, shifted, labels)


def test_a_model_in_eval_mode_is_not_the_one_in_train_mode(normed: ModelSpec) -> None:
    capture, truth = client(ClientTraining(mode="eval"), model=normed, local_steps=1, batch_size=2)
    assert mismatch(capture, *truth) < 1e-3
    assert mismatch(dataclasses.replace(capture, training=ClientTraining()), *truth) > 0.05


@pytest.mark.parametrize(("low", "high"), [(0.0, 16.0), (0.0, 255.0), (-2.1, 2.6)])
def test_inputs_of_any_range_are_matched(low: float, high: float) -> None:
    spec = ModelSpec("lenet", InputSpec(1, 8, 8, 4, low=low, high=high), "torch")
    capture, truth = client(model=spec, local_steps=1, num_examples=1)
    assert mismatch(capture, *truth) < 1e-3


@pytest.mark.parametrize("training", [TRAININGS["plain"], TRAININGS["nesterov"], TRAININGS["adam"]])
@pytest.mark.parametrize("spiking", [None, SpikingSpec(timesteps=3, threshold=0.3)], ids=["ann", "snn"])
def test_victims_replayed_together_are_those_replayed_alone(
    training: ClientTraining, spiking: SpikingSpec | None
) -> None:
    """The second engine agrees with the first in the distances and in both derivatives, also after turnover."""
    model = ModelSpec("spiking_lenet" if spiking else "lenet", SMALL, spiking=spiking)
    clients = [client(training, model=model, seed=seed, local_steps=3, num_examples=3) for seed in range(3)]
    engines = [
        kind([capture for capture, _ in clients], device="cpu", precision=torch.float64)
        for kind in (ReplayedTogether, ReplayedClients)
    ]
    found = []
    for engine in engines:
        engine.keep(torch.tensor([2, 0]))
        engine.replace(1, clients[1][0])
        rows = [clients[2][1], clients[1][1]]
        inputs = torch.stack([0.5 * examples for examples, _ in rows]).double().requires_grad_()
        targets = torch.stack([targets_of(training, labels, 4) for _, labels in rows]).double().requires_grad_()
        distances = engine.distances(inputs, targets)
        slopes = torch.autograd.grad(distances.sum(), [inputs, targets])
        found.append([distances.detach(), *slopes])
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * float(alone.abs().max()))


def test_many_victims_are_replayed_like_one() -> None:
    clients = [client(seed=seed) for seed in range(3)]
    inputs = torch.stack([truth[0] for _, truth in clients]) * 0.5
    targets = torch.stack([targets_of(ClientTraining(), truth[1], 4) for _, truth in clients])
    together = ReplayedClients([capture for capture, _ in clients], device="cpu", precision=torch.float32)
    alone = [
        float(ReplayedClients([capture], device="cpu", precision=torch.float32).distances(one[None], target[None])[0])
        for (capture, _), one, target in zip(clients, inputs, targets, strict=True)
    ]
    assert together.distances(inputs, targets).tolist() == pytest.approx(alone)
    together.keep(torch.tensor([2, 0]))
    together.replace(1, clients[1][0])
    rows = torch.tensor([2, 1])
    assert together.distances(inputs[rows], targets[rows]).tolist() == pytest.approx([alone[2], alone[1]])


@pytest.mark.parametrize(("layer", "wanted"), [(nn.GRU, False), (nn.Linear, True)])
def test_recurrent_layers_are_replayed_without_cudnn_which_has_no_second_derivative(
    layer: type[nn.Module], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[bool] = set()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.last = layer(SMALL.width, 5), nn.Linear(5, 4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.add(torch.backends.cudnn.enabled)
            answer = self.part(inputs.squeeze(1))
            logits: torch.Tensor = self.last((answer[0] if layer is nn.GRU else answer).mean(1))
            return logits

    monkeypatch.setitem(MODELS, "own", ModelEntry(lambda _: Net(), spiking=False, summary="my own"))
    capture, _ = client(model=ModelSpec("own", SMALL, "torch"))
    seen.clear()
    engine = ReplayedClients([capture], device="cpu", precision=torch.float32)
    engine.distances(torch.rand(1, 2, *SMALL.frame), torch.rand(1, 2, 4))
    assert seen == {wanted}
    assert torch.backends.cudnn.enabled
