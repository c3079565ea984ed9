"""GRNN's LeNet and its spiking twin: sizes, the published stack of layers, refusals, and that both can be attacked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import build_attack
from attacks.folding import Fold
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.models.spiking_lenet import SpikingTwin, activities
from fl_sim.specs import InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of

SMALL = InputSpec(1, 17, 20, 4)
SPECS = {
    "classic_lenet": ModelSpec("classic_lenet", SMALL),
    "spiking_classic_lenet": ModelSpec("spiking_classic_lenet", SMALL, "torch", SpikingSpec(timesteps=3)),
}


@pytest.mark.parametrize(("classes", "count"), [(10, 62_006), (100, 69_656), (5749, 549_821)])
@pytest.mark.parametrize("architecture", SPECS)
def test_parameter_counts_are_those_of_the_published_code(architecture: str, classes: int, count: int) -> None:
    model = build_model(ModelSpec(architecture, InputSpec(3, 32, 32, classes), spiking=SpikingSpec()))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_it_is_the_published_stack() -> None:
    model = build_model(ModelSpec("classic_lenet", InputSpec(3, 32, 32, 10)), seed=0)
    stack = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.Sigmoid(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    with torch.no_grad():
        for theirs, ours in zip(stack.parameters(), model.parameters(), strict=True):
            theirs.copy_(ours)
    inputs = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(inputs), stack(inputs))


def test_the_twins_have_the_same_parameters_under_the_same_seed() -> None:
    ann = build_model(SPECS["classic_lenet"], seed=3)
    snn = build_model(ModelSpec("spiking_classic_lenet", SMALL, spiking=SpikingSpec()), seed=3)
    theirs = dict(snn.named_parameters())
    assert len(theirs) == len(list(ann.parameters()))
    assert all(parameter.equal(theirs[name]) for name, parameter in ann.named_parameters())


@pytest.mark.parametrize("architecture", SPECS)
def test_inputs_that_are_too_small_are_refused_with_their_size(architecture: str) -> None:
    build_model(ModelSpec(architecture, InputSpec(1, 16, 16, 4), spiking=SpikingSpec()))
    with pytest.raises(ConfigError, match="at least 16x16 pixels, got 16x15"):
        build_model(ModelSpec(architecture, InputSpec(1, 16, 15, 4), spiking=SpikingSpec()))


def test_the_spiking_twin_reads_images_and_events_and_tells_its_rates() -> None:
    model = build_model(SPECS["spiking_classic_lenet"], seed=0)
    inputs = torch.rand(2, *SMALL.frame, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(inputs.expand(3, *inputs.shape)), model(inputs))
    assert isinstance(model, SpikingTwin)
    found = activities(model, inputs)
    assert list(found) == ["body.1", "body.3", "body.5", "body.7"]
    assert all(0.0 <= share <= 1.0 for layer in found.values() for share in layer)
    with pytest.raises(ConfigError, match="needs spiking settings"):
        build_model(ModelSpec("spiking_classic_lenet", SMALL))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_fold_gives_each_models_gradients_and_their_derivatives(spec: ModelSpec) -> None:
    models = [build_model(spec, seed=victim).double() for victim in range(2)]
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(2, 2, *SMALL.frame, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 3], [0, 2]])
    fold = Fold(spec, [parameters_of(model) for model in models], dtype=torch.float64)
    losses = F.cross_entropy(fold.logits(inputs).flatten(0, 1), labels.flatten(), reduction="none").view(2, 2).mean(1)
    gradients = fold.gradients(losses)
    (slope,) = torch.autograd.grad(energy(list(gradients.values())), inputs)
    for victim, model in enumerate(models):
        alone = inputs[victim].detach().requires_grad_()
        names, parameters = zip(*model.named_parameters(), strict=True)
        loss = F.cross_entropy(model(alone), labels[victim])
        expected = torch.autograd.grad(loss, parameters, create_graph=True)
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(gradients[name][victim], gradient)
        torch.testing.assert_close(slope[victim], torch.autograd.grad(energy(list(expected)), alone)[0])


def energy(gradients: list[Tensor]) -> Tensor:
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum()


@pytest.mark.parametrize("attack", ["dlg", "idlg"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_matching_attacks_lower_their_loss_on_it(attack: str, spec: ModelSpec) -> None:
    parameters = parameters_of(build_model(spec, seed=0))
    inputs = torch.rand(1, *SMALL.frame, generator=torch.Generator().manual_seed(0))
    capture = capture_gradient(spec, parameters, inputs, torch.tensor([2]), capture_id="test/r001-c000")
    (result,) = build_attack(attack, {"iterations": 3}).reconstruct([capture], seed=0)
    assert result.matching_loss < float(result.loss_history[0])
