"""What every gradient inversion in the table promises."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from attacks import ATTACKS, build_attack
from attacks.contracts import Reconstruction, StopReason
from attacks.matching import MatchingProblem
from fl_sim.records import CapturedUpdate, load_record, save_record
from tests.attacks.helpers import LENET, SPIKING_LENET, captures_of, truth, with_noise

pytestmark = pytest.mark.parametrize("name", ATTACKS)
SHORT: dict[str, Any] = {"iterations": 3}


def settings_of(name: str, **settings: Any) -> dict[str, Any]:
    """Return those of `settings` that the attack has; it may call its iterations steps."""
    known = ATTACKS[name].settings.model_fields
    if "steps" in known and "iterations" in settings:
        settings["steps"] = settings.pop("iterations")
    return {key: value for key, value in settings.items() if key in known}


def run(name: str, captures: Sequence[CapturedUpdate], *, seed: int = 0, **settings: Any) -> list[Reconstruction]:
    return build_attack(name, settings_of(name, **settings)).reconstruct(captures, seed=seed)


def errors(results: Sequence[Reconstruction], inputs: torch.Tensor) -> torch.Tensor:
    return torch.stack([(result.inputs - true).square().mean() for result, true in zip(results, inputs, strict=True)])


def shuffled(capture: CapturedUpdate) -> dict[str, torch.Tensor]:
    """Return an update of the same numbers in a random order: right in size, wrong in every direction."""
    generator = torch.Generator().manual_seed(7)
    return {
        key: g.flatten()[torch.randperm(g.numel(), generator=generator)].view_as(g) for key, g in capture.update.items()
    }


def test_one_answer_for_each_capture_in_order_and_in_range(name: str) -> None:
    inputs, labels = truth(5)
    captures = captures_of(LENET, inputs, labels)
    results = run(name, captures, **SHORT, victims_per_batch=2)
    assert [result.capture_id for result in results] == [capture.id for capture in captures]
    for result in results:
        assert result.inputs.shape == inputs.shape[1:]
        assert result.labels.shape == (1,)
        assert 0.0 <= float(result.inputs.min()) <= float(result.inputs.max()) <= 1.0


def test_the_same_seed_gives_the_same_tensors_and_another_seed_others(name: str) -> None:
    inputs, labels = truth(2)
    captures = captures_of(LENET, inputs, labels)
    first, second = run(name, captures, **SHORT), run(name, captures, **SHORT)
    other = run(name, captures, seed=1, **SHORT)
    assert all(a.inputs.equal(b.inputs) for a, b in zip(first, second, strict=True))
    assert not any(a.inputs.equal(b.inputs) for a, b in zip(first, other, strict=True))


def test_a_victims_guess_does_not_depend_on_its_neighbours(name: str) -> None:
    inputs, labels = truth(3)
    captures = captures_of(LENET, inputs, labels)
    together = run(name, captures, iterations=0)
    alone = run(name, captures[2:], iterations=0)
    assert together[2].inputs.equal(alone[0].inputs)


def test_the_budget_is_kept(name: str) -> None:
    inputs, labels = truth(2)
    for result in run(name, captures_of(LENET, inputs, labels), **SHORT):
        assert result.iterations <= 3 * 20
        assert result.gradient_evaluations <= 3 * 20 + 1


def test_no_iterations_return_the_initial_guess(name: str) -> None:
    inputs, labels = truth(2)
    captures = captures_of(LENET, inputs, labels)
    settings: Any = ATTACKS[name].settings(**settings_of(name, iterations=9, guess="uniform"))
    untouched = settings.untouched().model_dump()
    random = [replace(capture, update=shuffled(capture)) for capture in captures]
    unread = run(name, random, iterations=0, guess="uniform")
    for result, other in zip(build_attack(name, untouched).reconstruct(captures, seed=0), unread, strict=True):
        assert (result.iterations, result.gradient_evaluations) == (0, 1)
        assert result.inputs.equal(other.inputs)
        assert result.inputs.equal(result.last_inputs)
        assert result.stop_reason is StopReason.BUDGET
        if "guess" in untouched:
            assert 0.45 <= float(result.inputs.min()) <= float(result.inputs.max()) <= 0.55


@pytest.mark.parametrize("model", [LENET, SPIKING_LENET], ids=["lenet", "spiking_lenet"])
def test_the_truth_is_a_fixed_point(name: str, model: Any) -> None:
    inputs, labels = truth(3)
    captures = captures_of(model, inputs, labels)
    known = list(labels) if name == "idlg" else None
    problem = MatchingProblem(captures, known, precision=torch.float32, device="cpu")
    hard_labels = [] if known else [30.0 * torch.nn.functional.one_hot(labels, 4).float().flatten(1)]
    losses, slopes = problem.evaluate(torch.cat([inputs.flatten(1), *hard_labels], 1))
    assert float(losses.max()) < 1e-9
    assert float(slopes.abs().max()) < 1e-3


def test_the_candidate_is_the_one_with_the_smallest_loss_of_that_iterate(name: str) -> None:
    """On a spiking model losses go up and down, so the last iterate is another one."""
    inputs, labels = truth(4)
    rough = replace(SPIKING_LENET, init="uniform")
    captures = [replace(c, labels=label) for c, label in zip(captures_of(rough, inputs, labels), labels, strict=True)]
    results = run(name, captures, iterations=5, guess="uniform", divergence=0.0)
    for capture, result, label in zip(captures, results, labels, strict=True):
        assert result.matching_loss <= float(result.loss_history.min()) + 1e-6
        if name != "dlg":  # which does not take labels from the server
            problem = MatchingProblem([capture], [label], precision=torch.float32, device="cpu")
            last, _ = problem.evaluate(result.last_inputs.flatten()[None])
            assert result.matching_loss <= float(last) + 1e-6
    assert any(not result.inputs.equal(result.last_inputs) for result in results)


def test_more_iterations_never_raise_the_kept_loss(name: str) -> None:
    inputs, labels = truth(3)
    captures = captures_of(SPIKING_LENET, inputs, labels)
    losses = [[r.matching_loss for r in run(name, captures, iterations=n, divergence=0.0)] for n in (0, 2, 4)]
    for fewer, more in itertools.pairwise(losses):
        assert all(b <= a + 1e-6 for a, b in zip(fewer, more, strict=True))


def test_the_sigmoid_lenet_is_solved_and_noise_hurts(name: str) -> None:
    inputs, labels = truth(6)
    captures = captures_of(LENET, inputs, labels)
    # A generator finds it hard to make pictures of pure noise such as these; what it starts from has an error of 0.095.
    iterations, solved = (200, 6e-2) if name == "grnn" else (40, 1e-3)
    medians = [
        float(errors(run(name, with_noise(captures, scale), iterations=iterations, restarts=3), inputs).median())
        for scale in (0.0, 0.1, 2.0)
    ]
    assert medians[0] < solved
    assert medians[0] < medians[1] < medians[2]


def test_a_random_gradient_is_worth_no_more_than_the_guess(name: str) -> None:
    inputs, labels = truth(8)
    captures = captures_of(LENET, inputs, labels)
    random = [replace(capture, update=shuffled(capture)) for capture in captures]
    attacked = float(errors(run(name, random, iterations=20, guess="uniform"), inputs).mean())
    guess = float(errors(run(name, random, iterations=0, guess="uniform"), inputs).mean())
    assert attacked >= 0.9 * guess


def test_a_diverged_victim_says_so_and_gets_the_restarts_it_was_given(name: str) -> None:
    inputs, labels = truth(2)
    captures = captures_of(LENET, inputs, labels)
    # A generator's pixels cannot run away; its loss can be no number.
    factor = 1e6 if "divergence" in ATTACKS[name].settings.model_fields else 1e30
    hopeless = [replace(captures[0], update={key: g * factor for key, g in captures[0].update.items()}), captures[1]]
    results = run(name, hopeless, iterations=40, restarts=2, divergence=1.5)
    assert results[0].stop_reason is StopReason.DIVERGED
    assert results[0].restarts == (3 if "restarts" in ATTACKS[name].settings.model_fields else 1)
    assert bool(torch.isfinite(results[0].inputs).all())
    assert results[1].matching_loss < float("inf")


def test_a_batch_ends_where_each_victim_would_alone(name: str) -> None:
    """float64, few evaluations: rounding grows along the way."""
    inputs, labels = truth(4)
    captures = captures_of(LENET, inputs, labels)
    settings: dict[str, Any] = {"iterations": 2, "precision": "float64", "divergence": 0.0}
    together = run(name, captures, **settings)
    for capture, result in zip(captures, together, strict=True):
        alone = run(name, [capture], **settings)[0]
        torch.testing.assert_close(result.inputs, alone.inputs, rtol=1e-5, atol=1e-6)
        assert result.iterations == alone.iterations


def test_a_reconstruction_survives_the_disk(name: str, tmp_path: Any) -> None:
    inputs, labels = truth(1)
    result = run(name, captures_of(LENET, inputs, labels), **SHORT)[0]
    loaded = load_record(Reconstruction, save_record(result, tmp_path / "r.safetensors"))
    assert loaded.inputs.equal(result.inputs)
    assert (loaded.stop_reason, loaded.settings) == (result.stop_reason, result.settings)
