"""Victims that take turns in a few slots end where each would alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from attacks import build_attack
from attacks.contracts import Reconstruction, StopReason
from attacks.matching.search import Search
from attacks.settings import MatchingSettings
from tests.attacks.helpers import LENET, captures_of, truth, with_noise

UNKNOWNS = 6


class Bowls:
    """Quadratic bowls, as many at a time as there are slots; a stubborn one is flat, but for a slope in one place."""

    def __init__(self, victims: int, slots: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.centres = torch.randn(victims, UNKNOWNS, generator=generator, dtype=torch.float64)
        self.stiffness = 0.1 + torch.rand(victims, UNKNOWNS, generator=generator, dtype=torch.float64)
        self.held = torch.arange(slots)
        self.most = slots

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        offset, stiffness = points - self.centres[self.held], self.stiffness[self.held]
        self.most = max(self.most, len(points))
        return (stiffness * offset.square()).sum(1), 2.0 * stiffness * offset

    def candidates(self, points: Tensor) -> Tensor:
        return points

    def keep(self, rows: Tensor) -> None:
        self.held = self.held[rows]

    def replace(self, row: int, victim: int) -> None:
        self.held[row] = victim


def guess(victim: int, attempt: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * attempt + victim)
    return torch.randn(UNKNOWNS, generator=generator, dtype=torch.float64)


def searched(victims: int, slots: int, **settings: Any) -> tuple[Search, Bowls, list[int]]:
    problem = Bowls(victims, slots)
    search = Search(problem, guess, MatchingSettings(**settings), victims=victims, slots=slots)
    finished: list[int] = []
    search.run(finished.append)
    return search, problem, finished


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_turns_in_slots_change_nothing(slots: int) -> None:
    whole, _, _ = searched(11, 11)
    turns, problem, finished = searched(11, slots)
    assert problem.most == slots
    assert sum(finished) == 11
    assert turns.reasons == whole.reasons == [StopReason.CONVERGED] * 11
    torch.testing.assert_close(turns.best, whole.best, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(turns.best, problem.centres, rtol=0, atol=1e-2)
    assert turns.evaluations.equal(whole.evaluations)
    assert turns.iterations.equal(whole.iterations)
    torch.testing.assert_close(turns.curves, whole.curves, equal_nan=True)


def test_a_budget_of_nothing_lets_everybody_through() -> None:
    search, problem, finished = searched(7, 3, iterations=0)
    assert sum(finished) == 7
    assert search.evaluations.tolist() == [1] * 7
    assert search.best.equal(torch.stack([guess(victim, 0) for victim in range(7)]))
    assert problem.most == 3


def test_small_steps_alone_do_not_end_an_attempt() -> None:
    """The loss must have fallen far: here it starts below its tolerance, and steps are small at once."""
    eager, _, _ = searched(3, 3, loss_tolerance=50.0, step_tolerance=1e6)
    assert bool((eager.curves[:, 0] < 50.0).all())
    assert bool((eager.best_loss < 0.5 * eager.curves[:, 0]).all())
    assert eager.reasons == [StopReason.CONVERGED] * 3


def attack(captures: Any, **settings: Any) -> list[Reconstruction]:
    return build_attack("idlg", settings).reconstruct(captures, seed=0)


@pytest.mark.parametrize("noisy", [False, True], ids=["plain", "one defended"])
def test_an_attack_in_few_slots_ends_where_each_victim_would_alone(noisy: bool) -> None:
    """float64, few evaluations: rounding grows along the way."""
    inputs, labels = truth(5)
    captures = captures_of(LENET, inputs, labels)
    if noisy:
        captures[3] = with_noise(captures, 0.1)[3]
    settings: dict[str, Any] = {"iterations": 2, "precision": "float64", "divergence": 0.0}
    turns = attack(captures, victims_per_batch=2, **settings)
    for capture, result in zip(captures, turns, strict=True):
        alone = attack([capture], **settings)[0]
        torch.testing.assert_close(result.inputs, alone.inputs, rtol=1e-5, atol=1e-6)
        assert result.gradient_evaluations == alone.gradient_evaluations


def test_a_loss_that_stalls_at_rounding_is_not_started_anew() -> None:
    inputs, labels = truth(4)
    results = attack(captures_of(LENET, inputs, labels), iterations=60, restarts=3, loss_tolerance=1e-13)
    low = [result for result in results if result.matching_loss < 1e-13 * float(result.loss_history[0])]
    assert all(result.restarts == 1 for result in low if result.stop_reason is StopReason.STALLED)
