"""A fold of V models against each model on its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.folding import Fold
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import parameters_of

INPUT = InputSpec(channels=2, height=9, width=8, classes=5)
SPECS = {
    "lenet": ModelSpec("lenet", INPUT),
    "if": ModelSpec("spiking_lenet", INPUT, "torch", SpikingSpec(timesteps=4)),
    "lif": ModelSpec(
        "spiking_lenet",
        INPUT,
        "uniform",
        SpikingSpec(timesteps=3, neuron="lif", reset="soft", surrogate="fast_sigmoid", readout="spikes"),
    ),
    "rate": ModelSpec("spiking_lenet", INPUT, "torch", SpikingSpec(timesteps=3, encoder="latency", detach_reset=True)),
}
VICTIMS, EXAMPLES = 3, 2


def matching_loss(gradients: list[Tensor]) -> Tensor:
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0]], ids=["all", "some"])
def test_gradients_and_their_derivatives_are_those_of_each_model(spec: ModelSpec, rows: list[int]) -> None:
    models = [build_model(spec, seed=victim).double() for victim in range(VICTIMS)]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(VICTIMS, EXAMPLES, *INPUT.frame, generator=generator, dtype=torch.float64)
    labels = torch.randint(INPUT.classes, (VICTIMS, EXAMPLES), generator=generator)
    fold = Fold(spec, [parameters_of(model) for model in models], dtype=torch.float64)
    if len(rows) < VICTIMS:
        fold.keep(torch.tensor(rows))
    inputs, labels = inputs[rows].requires_grad_(), labels[rows]

    logits = fold.logits(inputs)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(len(rows), -1).mean(1)
    gradients = fold.gradients(losses)
    total = matching_loss([gradient.flatten() for gradient in gradients.values()])
    (slope,) = torch.autograd.grad(total, inputs)

    for place, victim in enumerate(rows):
        alone = inputs[place].detach().requires_grad_()
        names, parameters = zip(*models[victim].named_parameters(), strict=True)
        loss = F.cross_entropy(models[victim](alone), labels[place])
        expected = torch.autograd.grad(loss, parameters, create_graph=True)
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(gradients[name][place], gradient)
        (expected_slope,) = torch.autograd.grad(matching_loss(list(expected)), alone)
        torch.testing.assert_close(slope[place], expected_slope)


def test_a_victim_that_takes_anothers_place_has_its_own_gradients() -> None:
    spec = SPECS["lenet"]
    parameters = [parameters_of(build_model(spec, seed=victim).double()) for victim in range(VICTIMS)]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(VICTIMS, EXAMPLES, *INPUT.frame, generator=generator, dtype=torch.float64)
    whole, changed = (
        Fold(spec, chosen, dtype=torch.float64) for chosen in (parameters, [parameters[0], *parameters[:2]])
    )
    changed.replace(1, parameters[1])
    changed.replace(2, parameters[2])
    gradients = [
        fold.gradients(fold.logits(inputs.requires_grad_()).logsumexp(-1).mean(1)) for fold in (whole, changed)
    ]
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=0, atol=0)


class PlainNet(nn.Module):
    """A user's own model: views instead of flatten, pooling, functional activations."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(spec.input.channels, 6, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(6 * 3 * 3, 12)
        self.fc2 = nn.Linear(12, spec.input.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.pool(F.elu(self.conv(inputs)))
        hidden = torch.tanh(self.fc1(hidden.view(-1, 6 * 3 * 3)))
        logits: Tensor = self.fc2(hidden)
        return logits


def test_a_users_own_model_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "plain", ModelEntry(PlainNet, spiking=False, summary="test"))
    spec = ModelSpec("plain", InputSpec(1, 8, 8, 4), "torch")
    models = [build_model(spec, seed=victim) for victim in range(2)]
    inputs = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = Fold(spec, [parameters_of(model) for model in models]).logits(inputs)
    for victim, model in enumerate(models):
        torch.testing.assert_close(logits[victim], model(inputs[victim]))


class Normalised(nn.Module):
    """Has a layer that no fold knows."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.input.width)

    def forward(self, inputs: Tensor) -> Tensor:
        normalised: Tensor = self.norm(inputs)
        return normalised


def test_an_unknown_layer_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "normalised", ModelEntry(Normalised, spiking=False, summary="test"))
    spec = ModelSpec("normalised", INPUT)
    with pytest.raises(ConfigError, match=r"'norm' \(LayerNorm\)"):
        Fold(spec, [parameters_of(build_model(spec))])
