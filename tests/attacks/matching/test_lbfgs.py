"""The batched solver against torch's own, problem by problem."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attacks.matching.lbfgs import BatchedLBFGS, StepRule

VICTIMS, UNKNOWNS = 5, 12


class Wavy:
    """V wavy bowls: a quadratic form plus squared sines, so that curvature changes sign along the way."""

    def __init__(self, seed: int, *, waves: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(VICTIMS, UNKNOWNS, UNKNOWNS, generator=generator, dtype=torch.float64)
        self.matrix = root @ root.transpose(1, 2) + 0.1 * torch.eye(UNKNOWNS, dtype=torch.float64)
        self.centre = torch.randn(VICTIMS, UNKNOWNS, generator=generator, dtype=torch.float64)
        self.start = torch.randn(VICTIMS, UNKNOWNS, generator=generator, dtype=torch.float64)
        self.waves = waves

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        offset = points - self.centre[rows]
        bowl = 0.05 * ((self.matrix[rows] @ offset[..., None]).squeeze(-1) * offset).sum(-1)
        return bowl + self.waves * torch.sin(3 * offset).square().sum(-1)

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        losses = self.losses(points, torch.arange(VICTIMS))
        (gradients,) = torch.autograd.grad(losses.sum(), points)
        return losses.detach(), gradients


def torch_trajectory(problem: Wavy, victim: int, rule: StepRule, *, outer: int) -> list[Tensor]:
    """Return the points that torch.optim.LBFGS evaluates, without repetitions."""
    point = problem.start[victim].clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [point],
        lr=rule.learning_rate,
        max_iter=rule.inner_iterations,
        history_size=rule.history,
        tolerance_grad=rule.tolerance_gradient,
        tolerance_change=rule.tolerance_change,
    )
    points: list[Tensor] = []

    def closure() -> Tensor:
        solver.zero_grad()
        loss = problem.losses(point, torch.tensor(victim))
        loss.backward()  # type: ignore[no-untyped-call]
        if not points or not torch.equal(points[-1], point.detach()):
            points.append(point.detach().clone())
        return loss

    for _ in range(outer):
        solver.step(closure)  # type: ignore[no-untyped-call]
    return points


def batched_trajectory(problem: Wavy, rule: StepRule, *, steps: int) -> list[Tensor]:
    solver = BatchedLBFGS(problem.start, rule)
    points = []
    for _ in range(steps):
        solver.advance(problem.evaluate)
        points.append(solver.points.clone())
    return points


@pytest.mark.parametrize("rule", [StepRule(), StepRule(learning_rate=0.1), StepRule(learning_rate=0.1, history=5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_victim_walks_as_torch_does(rule: StepRule, seed: int) -> None:
    problem = Wavy(seed)
    ours = batched_trajectory(problem, rule, steps=25)
    for victim in range(VICTIMS):
        theirs = torch_trajectory(problem, victim, rule, outer=2)
        assert len(theirs) >= 10
        for step, point in enumerate(theirs[:12]):
            torch.testing.assert_close(ours[step][victim], point, rtol=1e-6, atol=1e-7)


def test_a_quadratic_is_solved_and_stationary() -> None:
    problem = Wavy(3, waves=0.0)
    solver = BatchedLBFGS(problem.start, StepRule())
    for _ in range(200):
        solver.advance(problem.evaluate)
    torch.testing.assert_close(solver.points, problem.centre, rtol=0, atol=1e-3)
    assert float(solver.losses.max()) < 1e-8
    assert bool(solver.settled.all())


def test_a_step_of_torch_counts_as_an_outer_step() -> None:
    solver = BatchedLBFGS(Wavy(0).start, StepRule(learning_rate=1e-3))
    problem = Wavy(0)
    for _ in range(1 + 20 * 3):
        solver.advance(problem.evaluate)
    assert solver.outer.tolist() == [3] * VICTIMS
    assert solver.iterations.tolist() == [60] * VICTIMS
    assert solver.evaluations.tolist() == [61] * VICTIMS


@settings(max_examples=25, deadline=None)
@given(bad=st.integers(0, VICTIMS - 1), value=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30]))
def test_one_bad_victim_disturbs_nobody(bad: int, value: float) -> None:
    problem = Wavy(2)

    def broken(points: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = problem.evaluate(points)
        losses[bad], gradients[bad] = value, value
        return losses, gradients

    healthy, disturbed = (BatchedLBFGS(problem.start, StepRule(learning_rate=0.5)) for _ in range(2))
    for _ in range(15):
        healthy.advance(problem.evaluate)
        disturbed.advance(broken)
    others = [victim for victim in range(VICTIMS) if victim != bad]
    torch.testing.assert_close(disturbed.points[others], healthy.points[others], rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(kept=st.sets(st.integers(0, VICTIMS - 1), min_size=1), when=st.integers(0, 10))
def test_victims_that_leave_do_not_change_the_rest(kept: set[int], when: int) -> None:
    problem, rows = Wavy(4), torch.tensor(sorted(kept))
    whole, thinned = (BatchedLBFGS(problem.start, StepRule(learning_rate=0.3)) for _ in range(2))

    def evaluate_kept(points: Tensor) -> tuple[Tensor, Tensor]:
        padded = problem.start.clone()
        padded[rows] = points
        losses, gradients = problem.evaluate(padded)
        return losses[rows], gradients[rows]

    for step in range(20):
        whole.advance(problem.evaluate)
        if step == when:
            thinned.keep(rows)
        thinned.advance(problem.evaluate if step < when else evaluate_kept)
    torch.testing.assert_close(thinned.points, whole.points[rows], rtol=1e-9, atol=1e-9)


def test_a_restarted_victim_walks_as_a_new_one() -> None:
    problem = Wavy(5)
    rule = StepRule(learning_rate=0.3)
    solver = BatchedLBFGS(problem.start + 1.0, rule)
    for _ in range(7):
        solver.advance(problem.evaluate)
    solver.restart(torch.tensor([2]), problem.start[2:3])
    expected = batched_trajectory(problem, rule, steps=12)
    for step in range(12):
        solver.advance(problem.evaluate)
        torch.testing.assert_close(solver.points[2], expected[step][2], rtol=1e-9, atol=1e-9)


def test_a_new_problem_in_the_place_of_another_counts_from_nought() -> None:
    problem = Wavy(6)
    rule = StepRule(learning_rate=0.3)
    solver = BatchedLBFGS(problem.start + 1.0, rule)
    for _ in range(7):
        solver.advance(problem.evaluate)
    solver.replace(torch.tensor([1]), problem.start[1:2])
    expected = batched_trajectory(problem, rule, steps=12)
    for step in range(12):
        solver.advance(problem.evaluate)
        torch.testing.assert_close(solver.points[1], expected[step][1], rtol=1e-9, atol=1e-9)
    assert solver.evaluations.tolist() == [19, 12, 19, 19, 19]


def test_a_history_that_is_full_forgets_as_torch_does() -> None:
    problem = Wavy(7)
    rule = StepRule(learning_rate=0.1, history=3)
    ours = batched_trajectory(problem, rule, steps=40)
    for victim in range(VICTIMS):
        theirs = torch_trajectory(problem, victim, rule, outer=2)
        for step, point in enumerate(theirs[:25]):
            torch.testing.assert_close(ours[step][victim], point, rtol=1e-5, atol=1e-6)
