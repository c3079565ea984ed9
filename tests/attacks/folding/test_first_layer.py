"""BrainLeaks-v2 goes back through the first layer once for each class: every spiking model's layer allows it."""

from __future__ import annotations

import pytest
import torch

from attacks.brainleaks import BrainLeaksV2
from attacks.inversion_settings import BrainLeaksV2Settings
from attacks.posterior import Target
from fl_sim.models import MODELS
from fl_sim.models.spiking_lenet import SpikingTwin
from fl_sim.records import InputSpec, ModelSpec, TrainedModel
from tests.attacks.inversion_helpers import NEURONS, trained

INPUTS = InputSpec(channels=2, height=16, width=17, classes=3)
SPIKING = [name for name, entry in MODELS.items() if entry.spiking]

pytestmark = pytest.mark.parametrize("architecture", SPIKING)


def victim(architecture: str) -> TrainedModel:
    return trained(ModelSpec(architecture, INPUTS, "torch", NEURONS, hidden=12))


def test_it_is_affine_and_the_rest_of_the_model_goes_on_from_it(architecture: str) -> None:
    target = Target(victim(architecture), spiking=True, attack="", device="cpu", precision="float64")
    one, other = torch.rand(2, 4, 5, *INPUTS.frame, generator=torch.Generator().manual_seed(0)).double()
    sums = target.currents(one) + target.currents(other) - target.currents(torch.zeros_like(one))
    torch.testing.assert_close(target.currents(one + other), sums, rtol=1e-12, atol=1e-12)
    assert target.currents(one).shape != one.shape
    assert target.outputs_from(target.currents(one)).equal(target.outputs(one))


@pytest.mark.parametrize("limit", [128, 7, 2])
def test_once_for_each_class_gives_what_once_for_each_sample_gives(
    architecture: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BrainLeaksV2Settings(population=3, xi=0.1, samples_per_pass=limit, precision="float64")
    ours = BrainLeaksV2(settings).invert(victim(architecture), range(3), seed=2)
    monkeypatch.delattr(SpikingTwin, "sequence_from")  # nothing then tells where the first layer ends
    theirs = BrainLeaksV2(settings).invert(victim(architecture), range(3), seed=2)
    assert ours.probabilities is not None
    assert theirs.probabilities is not None
    torch.testing.assert_close(ours.probabilities, theirs.probabilities, rtol=1e-9, atol=1e-12)
    assert ours.inputs.equal(theirs.inputs)
