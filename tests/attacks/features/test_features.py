"""The inversion of exact features: what is read, and what is found by forward passes only."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from attacks import build_attack
from attacks.contracts import Auxiliary
from attacks.features.forward import Features
from attacks.features.proposals import proposals
from attacks.features.regression import kernel_ridge, local_ridge
from attacks.features.strokes import strokes
from attacks.reading.head import read_head
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from fl_sim.training import capture_gradient, parameters_of

SPEC = InputSpec(channels=1, height=16, width=16, classes=10)
SMALL = {"prior_count": 400, "rounds": 4, "draws": 150, "prior": "strokes"}
SPIKING = ModelSpec("spiking_lenet", SPEC, spiking=SpikingSpec(timesteps=4), init="uniform")


def stroke() -> torch.Tensor:
    """Return a picture (1, 1, 16, 16) that no prior of these tests holds."""
    return strokes(3, 16, 16, torch.Generator().manual_seed(99))[2:]


def captured(model: ModelSpec, picture: torch.Tensor) -> CapturedUpdate:
    capture = capture_gradient(model, parameters_of(build_model(model, seed=1)), picture, torch.tensor([3]))
    return dataclasses.replace(capture, id="own/r001-c000")


@pytest.mark.parametrize("model", [SPIKING, ModelSpec("lenet", SPEC, init="uniform")])
def test_the_update_gives_the_features_of_the_truth(model: ModelSpec) -> None:
    capture = captured(model, stroke())
    read = read_head(capture)
    assert read is not None
    assert read.error < 1e-5
    found = Features(capture, device="cpu").of(torch.cat([stroke(), torch.zeros(1, 1, 16, 16)]))
    assert torch.allclose(found[0], read.features, atol=1e-4)
    assert not torch.allclose(found[1], read.features, atol=1e-1)


def test_whole_numbers_are_read_of_integrate_and_fire_neurons() -> None:
    """T F is a sum of the numbers of the remaining steps at each spike, with T = 4 at most 10."""
    read = read_head(captured(SPIKING, stroke()))
    assert read is not None
    scaled = 4 * read.features
    assert torch.allclose(scaled, scaled.round(), atol=1e-3)
    assert 0 < float(scaled.max()) <= 10.001


def test_the_residual_is_that_of_the_probabilities() -> None:
    model = ModelSpec("lenet", SPEC, init="uniform")
    capture = captured(model, stroke())
    read = read_head(capture)
    assert read is not None
    probabilities = build_model(model, seed=1)(stroke()).softmax(-1)[0].detach()
    probabilities[3] -= 1.0
    assert torch.allclose(read.residual, probabilities, atol=1e-6)


def test_it_finds_what_gradient_matching_does_not() -> None:
    capture = captured(SPIKING, stroke())
    (found,) = build_attack("feature_kalman", SMALL).reconstruct([capture], seed=0)
    (matched,) = build_attack("idlg", {"iterations": 5, "guess": "uniform"}).reconstruct([capture], seed=0)
    errors = [float((answer.inputs - stroke()).square().mean()) for answer in (found, matched)]
    assert errors[0] < 0.03 < errors[1]  # the mean of strokes: 0.06
    assert found.loss_history[-1] < found.loss_history[0]


def test_auxiliary_data_take_the_place_of_strokes() -> None:
    capture = captured(SPIKING, stroke())
    attack = build_attack("feature_kalman", {**SMALL, "prior": "auto"})
    pictures = strokes(400, 16, 16, torch.Generator().manual_seed(1))
    informed = attack.informed(Auxiliary("own", pictures, torch.zeros(400, dtype=torch.int64)))  # type: ignore[attr-defined]
    own, theirs = (one.reconstruct([capture], seed=0)[0].inputs for one in (attack, informed))
    assert not torch.equal(own, theirs)
    with pytest.raises(ConfigError, match=r"attack.prior: 'auxiliary' needs auxiliary data"):
        build_attack("feature_kalman", {"prior": "auxiliary"}).reconstruct([capture], seed=0)


def test_an_update_of_two_examples_has_no_features_to_read() -> None:
    two = torch.cat([stroke(), stroke()])
    capture = capture_gradient(SPIKING, parameters_of(build_model(SPIKING, seed=1)), two, torch.tensor([3, 4]))
    with pytest.raises(ConfigError, match=r"feature_kalman.*one example"):
        build_attack("feature_kalman").reconstruct([capture], seed=0)


@pytest.mark.parametrize("regression", [kernel_ridge, local_ridge])
def test_a_regression_undoes_a_linear_map(regression: object) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(200, 6, generator=generator)
    mixing = torch.randn(6, 12, generator=generator)
    truth = torch.tensor([0.3, 0.7, 0.5, 0.4, 0.6, 0.5])
    found = regression(inputs @ mixing, inputs, truth @ mixing)  # type: ignore[operator]
    assert float((found - truth).abs().max()) < 0.1


def test_strokes_are_pictures_of_pens() -> None:
    drawn = strokes(50, 20, 24, torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 1, 20, 24)
    assert float(drawn.min()) == 0.0
    assert float(drawn.max()) == 1.0
    ink = drawn.flatten(1).mean(1)
    assert 0.02 < float(ink.min()) < float(ink.max()) < 0.6


def test_proposals_come_nearer_as_their_spread_falls() -> None:
    picture, prior = stroke(), strokes(20, 16, 16, torch.Generator().manual_seed(1))
    far, near = (
        (proposals(picture, prior, 100, spread, torch.Generator().manual_seed(2)) - picture).square().mean()
        for spread in (1.0, 0.2)
    )
    assert 0.0 < float(near) < 0.5 * float(far)
