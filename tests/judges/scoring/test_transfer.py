"""What a model that an attack never saw makes of its answers, on networks whose answers are known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from fl_sim.records import TrainedModel
from fl_sim.specs import BRAINLEAKS_NEURONS, InputSpec, ModelSpec
from judges.runs.identity import REAL
from judges.scoring.model_inversion import Shown
from judges.scoring.models.transfer import tried
from tests.judges.class_runs import row

INPUT = InputSpec(channels=1, height=1, width=2, classes=2)
ROWS = [row(label=label, control="x") for label in (0, 1)]
BRIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2)
"""One image for each class: the pixel of its number is bright."""


def model(head: Tensor, *, spiking: bool = False) -> TrainedModel:
    """Return a network whose hidden units are the pixels, and whose outputs are `head` of them."""
    neurons = BRAINLEAKS_NEURONS.model_copy(update={"timesteps": 3, "encoder": "direct"}) if spiking else None
    spec = ModelSpec("spiking_mlp" if spiking else "mlp", INPUT, "torch", neurons, hidden=2)
    into = "body.0.1"
    parameters = {
        f"{into}.weight": 2.0 * torch.eye(2) if spiking else 20.0 * torch.eye(2),
        f"{into}.bias": torch.zeros(2) if spiking else torch.full((2,), -10.0),
        "head.weight": head,
        "head.bias": torch.zeros(2),
    }
    return TrainedModel(spec, parameters, 1.0, round=1, seed=0)


SAME, SWAPPED, BLIND = 5.0 * torch.eye(2), 5.0 * torch.eye(2).flip(0), torch.zeros(2, 2)


def shown(inputs: Tensor, still: Tensor | None = None) -> Shown:
    return Shown.of_control(REAL, 0, torch.tensor([0, 1]), inputs, still=still)


def test_each_row_says_what_the_attacked_model_and_the_others_believe() -> None:
    found = tried(ROWS, shown(BRIGHT), model(SAME), [model(SWAPPED), model(SAME), model(BLIND)])
    right = 1 / (1 + math.exp(-5.0))
    for one in found:
        assert one.own_success is True
        assert one.own_confidence == pytest.approx(right, abs=1e-3)
        assert (one.second_targets, one.second_success) == (3, 1)  # a tie is no success
        assert one.second_confidence == pytest.approx((1 - right + right + 0.5) / 3, abs=1e-3)
    plain = [
        dataclasses.replace(one, own_success=None, own_confidence=None, second_targets=0, second_success=None,
                            second_confidence=None)
        for one in found
    ]  # fmt: skip
    assert plain == ROWS


def test_spikes_go_in_as_they_are_and_images_behind_a_control_are_coded_by_each_model() -> None:
    target = model(SAME, spiking=True)
    dark = torch.zeros(3, 2, 1, 1, 2)
    assert [one.own_success for one in tried(ROWS, shown(dark), target, [target])] == [False, False]
    assert [one.own_success for one in tried(ROWS, shown(dark, still=BRIGHT), target, [target])] == [True, True]
    spikes = BRIGHT.expand(3, 2, 1, 1, 2)
    assert [one.second_success for one in tried(ROWS, shown(spikes), target, [target])] == [1, 1]
