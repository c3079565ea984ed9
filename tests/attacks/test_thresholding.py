"""Real numbers to spikes: after, inside, and through the optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks import build_attack
from attacks.contracts import Reconstruction
from attacks.matching import MatchingProblem
from attacks.thresholding import straight_through, threshold, thresholded
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SpikingSpec
from tests.attacks.helpers import LENET, captures_of, truth

EVENTS = InputSpec(channels=2, height=8, width=8, classes=4, timesteps=3)
SNN = ModelSpec("spiking_lenet", EVENTS, "torch", SpikingSpec(timesteps=3, threshold=0.3))


def recordings(count: int) -> tuple[list[CapturedUpdate], Tensor, Tensor]:
    """Return captures, sparse binary inputs (V, T, 1, P, H, W) and labels (V, 1)."""
    generator = torch.Generator().manual_seed(5)
    inputs = (torch.rand(count, 3, 1, *EVENTS.frame, generator=generator) < 0.2).float()
    labels = torch.randint(EVENTS.classes, (count, 1), generator=generator)
    return captures_of(SNN, inputs, labels), inputs, labels


def run(captures: Sequence[CapturedUpdate], **settings: Any) -> list[Reconstruction]:
    return build_attack("idlg", {"guess": "spikes", "label_rule": "bias", **settings}).reconstruct(captures, seed=0)


def test_a_threshold_is_strict_and_nan_exceeds_nothing() -> None:
    inputs = torch.tensor([-1.0, 0.5, 0.500001, 3.0, torch.nan])
    assert threshold(inputs, 0.5).tolist() == [0, 0, 1, 1, 0]


def test_straight_through_is_binary_and_has_the_derivative_of_the_identity() -> None:
    latent = torch.linspace(-1.0, 2.0, 101).requires_grad_()
    spikes = straight_through(latent, 0.3)
    assert set(spikes.tolist()) == {0.0, 1.0}
    (slope,) = torch.autograd.grad((spikes * torch.arange(101)).sum(), latent)
    assert slope.equal(torch.arange(101).float())


def test_answers_of_events_have_the_shape_of_recordings_and_are_not_clamped() -> None:
    captures, inputs, labels = recordings(2)
    results = run(captures, iterations=2)
    for result, label in zip(results, labels, strict=True):
        assert result.inputs.shape == inputs.shape[1:]
        assert result.labels.equal(label)
    assert min(float(result.inputs.min()) for result in results) < 0.0


def test_the_guess_of_spikes_is_half_normal() -> None:
    captures, _, _ = recordings(40)
    guess = torch.stack([result.inputs for result in run(captures, iterations=0)])
    assert float(guess.min()) >= 0.0
    assert float(guess.square().mean().sqrt()) == pytest.approx(0.1, rel=0.02)
    assert float(guess.mean()) == pytest.approx(0.1 * (2 / torch.pi) ** 0.5, rel=0.02)


def test_post_optimisation_is_the_threshold_of_the_plain_attack() -> None:
    captures, _, _ = recordings(2)
    plain = run(captures, iterations=3)
    post = run(captures, iterations=3, thresholding="post_optimisation", tau=0.2)
    for before, after in zip(plain, post, strict=True):
        assert after.inputs.equal(threshold(before.inputs, 0.2))
        assert after.inputs.equal(thresholded(before, 0.2).inputs)
        assert (after.matching_loss, after.iterations) == (before.matching_loss, before.iterations)
        assert (after.settings["thresholding"], after.settings["tau"]) == ("post_optimisation", 0.2)


@pytest.mark.parametrize("way", ["post_optimisation", "in_optimisation", "straight_through"])
def test_without_a_step_every_way_answers_with_the_thresholded_guess(way: str) -> None:
    captures, _, _ = recordings(2)
    guess = run(captures, iterations=0)
    for before, after in zip(guess, run(captures, iterations=0, thresholding=way, tau=0.05), strict=True):
        assert after.inputs.equal(threshold(before.inputs, 0.05))
        assert 0.0 < float(after.inputs.mean()) < 1.0


@pytest.mark.parametrize("way", ["in_optimisation", "straight_through"])
def test_the_candidate_is_binary_and_its_loss_is_its_own(way: str) -> None:
    captures, _, labels = recordings(3)
    results = run(captures, iterations=3, thresholding=way, tau=0.1, precision="float64")
    for capture, result, label in zip(captures, results, labels, strict=True):
        assert set(result.inputs.unique().tolist()) <= {0.0, 1.0}  # type: ignore[no-untyped-call]
        problem = MatchingProblem([capture], [label], precision=torch.float64, device="cpu")
        loss, _ = problem.evaluate(result.inputs.double().flatten()[None])
        assert float(loss) == pytest.approx(result.matching_loss, rel=1e-6)


def literal(capture: CapturedUpdate, label: Tensor, guess: Tensor, *, tau: float, outer: int) -> list[Tensor]:
    """Algorithm 2 with torch's own L-BFGS: the binary candidate after each of its steps."""
    problem = MatchingProblem([capture], [label], precision=torch.float64, device="cpu")
    point = guess.double().flatten().clone().requires_grad_()
    solver = torch.optim.LBFGS([point], lr=1.0, max_iter=4)

    def closure() -> float:
        loss, slope = problem.evaluate(point.detach()[None])
        point.grad = slope[0]
        return float(loss)

    candidates = []
    for _ in range(outer):
        solver.step(closure)  # type: ignore[no-untyped-call]
        point.data = threshold(point.data, tau)
        candidates.append(point.detach().clone())
    return candidates


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_in_optimisation_is_the_algorithm_as_published(tau: float) -> None:
    captures, _, labels = recordings(2)
    settings: dict[str, Any] = {"thresholding": "in_optimisation", "tau": tau, "inner_iterations": 4}
    guesses = run(captures, iterations=0)
    results = run(captures, iterations=5, precision="float64", **settings)
    for capture, label, guess, result in zip(captures, labels, guesses, results, strict=True):
        candidates = literal(capture, label, guess.inputs, tau=tau, outer=5)
        assert result.last_inputs.flatten().double().equal(candidates[-1])
        assert any(result.inputs.flatten().double().equal(candidate) for candidate in candidates)


def test_images_can_be_thresholded_too() -> None:
    inputs, labels = truth(1)
    (result,) = run(captures_of(LENET, inputs, labels), iterations=2, guess="uniform", thresholding="straight_through")
    assert set(result.inputs.unique().tolist()) <= {0.0, 1.0}  # type: ignore[no-untyped-call]
