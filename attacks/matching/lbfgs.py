"""L-BFGS over many independent problems at once.

The step rule of each problem is that of `torch.optim.LBFGS` without a line search, as used by DLG and iDLG: steps of
length lr along the quasi-Newton direction, the first one scaled by 1/|g|_1, and a pair (s, y) is stored only if
s.y > 1e-10. Each problem has its own history, step, counters and stop state; they share only the calls that evaluate
them. Restarting or finishing a problem does not affect its neighbours.

The product of the inverse Hessian approximation and the gradient is computed in the compact form of Byrd, Nocedal and
Schnabel (1994, Mathematical Programming 63, eq. 3.13): the long vectors are read in two batched products each, and
everything else is done with (history x history) matrices, in float64 because they are close to singular near a
solution. Of the triangle R = upper(S^T Y) only the inverse is stored: a new pair adds a column to it and removing an
old one removes its row and column, so no system is solved and the pairs stay in their slots, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (V, D) -> losses (V,) and gradients (V, D)."""

_CURVATURE = 1e-10
_DECREASE = 1e-4
_MOST_HALVINGS = 20


@dataclass(frozen=True)
class StepRule:
    """Constants of the step rule; the defaults are those of `torch.optim.LBFGS`.

    Attributes:
        learning_rate: step length.
        inner_iterations: iterations of one outer step ("max_iter").
        history: number of pairs (s, y) stored.
        tolerance_gradient: an outer step ends when max |g| is at most this.
        tolerance_change: an outer step ends when the step or the change of the loss is at most this.
        line_search: whether a step that does not decrease the loss enough is halved (Armijo's rule, Nocedal and Wright
            2006, section 3.1), which torch's loop does not do.
    """

    learning_rate: float = 1.0
    inner_iterations: int = 20
    history: int = 100
    tolerance_gradient: float = 1e-7
    tolerance_change: float = 1e-9
    line_search: bool = False


class BatchedLBFGS:
    """V minimisations side by side.

    Attributes:
        points: (V, D), the current point of each problem.
        losses, gradients: (V,) and (V, D), at `points`; not yet known for a fresh problem.
        steps: (V, D), the step that led to `points`; 0 if the last iteration took none.
        outer: (V,), finished outer steps, counted as calls of `torch.optim.LBFGS.step`.
        iterations: (V,), steps taken.
        evaluations: (V,), evaluations of loss and gradient.
        ended: (V,), whether the last iteration ended an outer step.
        settled: (V,), whether the last iteration ended an outer step by a tolerance and not by its length.
        idle: (V,), number of consecutive outer steps that a tolerance ended after one iteration.
        stationary: (V,), whether no further outer step could change the point.
        running: (V,), whether the problem takes part in the next iteration; set by the caller.
    """

    def __init__(self, points: Tensor, rule: StepRule) -> None:
        victims, unknowns = points.shape
        self.rule = rule
        self.points = points.clone()
        self.losses = points.new_full((victims,), torch.inf)
        self.gradients = torch.zeros_like(points)
        self.fresh = self._flags(True)
        self.running = self._flags(True)
        self.ended, self.settled = self._flags(False), self._flags(False)
        self.stationary = self._flags(False)
        self.outer, self.idle, self.iterations, self.evaluations = (self._counts() for _ in range(4))
        self._inner, self._age, self._count, self._head = (self._counts() for _ in range(4))
        self._halvings = self._counts()
        self._previous_gradients = torch.zeros_like(points)
        self.steps = torch.zeros_like(points)
        self._trial = torch.zeros_like(points)
        self._scale = points.new_ones((victims,), dtype=torch.float64)
        self._s = points.new_zeros((victims, rule.history, unknowns))
        self._y = torch.zeros_like(self._s)
        self._inverse = points.new_zeros((victims, rule.history, rule.history), dtype=torch.float64)
        self._yy = torch.zeros_like(self._inverse)
        self._curvatures = points.new_zeros((victims, rule.history), dtype=torch.float64)

    def restart(self, rows: Tensor, points: Tensor) -> None:
        """Restart the problems at indices `rows` at `points` (len(rows), D); work counters are not reset."""
        self.points[rows] = points
        self.fresh[rows] = True
        self.settled[rows] = self.stationary[rows] = False
        for state in (self.outer, self.idle, self._inner, self._age, self._count, self._head, self._halvings):
            state[rows] = 0
        # Values left by a diverged problem must be cleared, since infinity multiplied by 0 would give NaN.
        for history in (self._s, self._y, self._inverse, self._yy, self._curvatures):
            history[rows] = 0.0
        self._scale[rows] = 1.0

    def replace(self, rows: Tensor, points: Tensor) -> None:
        """Replace the problems at indices `rows` by new ones that start at `points` (len(rows), D)."""
        self.restart(rows, points)
        self.iterations[rows] = self.evaluations[rows] = 0

    def keep(self, rows: Tensor) -> None:
        """Drop all problems but those at indices `rows`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])

    def advance(self, evaluate: Evaluate) -> None:
        """Take one step in each running problem, then evaluate all of them; a fresh problem is only evaluated."""
        if self.rule.line_search:
            self._advance_downhill(evaluate)
            return
        active = self.running & ~self.fresh
        directions = self._directions(active & (self._age > 0))
        blocked = active & ((directions * self.gradients).sum(1) > -self.rule.tolerance_change)
        moving = active & ~blocked
        self.steps = torch.where(moving[:, None], directions * self._step_lengths()[:, None], 0.0)
        self._previous_gradients = self.gradients
        self._age = self._age + moving
        self.iterations = self.iterations + moving
        self.points = self.points + self.steps

        before = self.losses
        losses, gradients = evaluate(self.points)
        self.losses = torch.where(self.running, losses, self.losses)
        self.gradients = torch.where(self.running[:, None], gradients, self.gradients)
        self.evaluations = self.evaluations + self.running
        self.fresh = self.fresh & ~self.running
        self._close_outer_steps(moving, blocked, before)

    def _advance_downhill(self, evaluate: Evaluate) -> None:
        """Try one step in each running problem; one whose step is rejected tries half of it the next time."""
        active = self.running & ~self.fresh
        starting = active & (self._halvings == 0)
        directions = self._directions(starting & (self._age > 0))
        blocked = starting & ((directions * self.gradients).sum(1) > -self.rule.tolerance_change)
        first = torch.where(starting[:, None], directions * self._step_lengths()[:, None], 0.5 * self._trial)
        trying = active & ~blocked
        self._trial = torch.where(trying[:, None], first, 0.0)
        losses, gradients = evaluate(self.points + self._trial)
        slopes = (self._trial * self.gradients).sum(1)
        lower = torch.isfinite(losses) & (losses <= self.losses + _DECREASE * slopes)
        hopeless = trying & ~lower & (self._halvings >= _MOST_HALVINGS)
        moving = trying & lower
        accepted = (moving | (self.running & self.fresh))[:, None]
        before = self.losses
        self.steps = torch.where(moving[:, None], self._trial, torch.where(trying[:, None], self.steps, 0.0))
        self._previous_gradients = torch.where(moving[:, None], self.gradients, self._previous_gradients)
        self.points = torch.where(accepted, self.points + self._trial, self.points)
        self.losses = torch.where(accepted[:, 0], losses, self.losses)
        self.gradients = torch.where(accepted, gradients, self.gradients)
        self._age = self._age + moving
        self.iterations = self.iterations + moving
        self.evaluations = self.evaluations + self.running
        self._halvings = torch.where(trying & ~lower & ~hopeless, self._halvings + 1, 0)
        self.fresh = self.fresh & ~self.running
        self._close_outer_steps(moving, blocked | hopeless, before)

    def move(self, rows: Tensor, points: Tensor, evaluate: Evaluate) -> None:
        """Move the problems flagged in `rows` (V,) to `points` (V, D) and evaluate them there.

        History and last step are kept, as when the parameters of `torch.optim.LBFGS` are changed between two calls of
        its `step`.
        """
        self.points = torch.where(rows[:, None], points, self.points)
        losses, gradients = evaluate(self.points)
        self.losses = torch.where(rows, losses, self.losses)
        self.gradients = torch.where(rows[:, None], gradients, self.gradients)
        self.evaluations = self.evaluations + rows
        optimal = self.gradients.abs().amax(1) <= self.rule.tolerance_gradient
        self.stationary = torch.where(rows, optimal, self.stationary)
        self.settled = self.settled & ~rows

    def _close_outer_steps(self, moving: Tensor, blocked: Tensor, before: Tensor) -> None:
        """Count an outer step where `torch.optim.LBFGS.step` would return; the next one continues from there."""
        rule = self.rule
        optimal = self.running & (self.gradients.abs().amax(1) <= rule.tolerance_gradient)
        small_step = self.steps.abs().amax(1) <= rule.tolerance_change
        small_change = (self.losses - before).abs() < rule.tolerance_change
        self._inner = self._inner + moving
        self.settled = optimal | blocked | (moving & (small_step | small_change))
        self.stationary = optimal | blocked
        self.ended = self.settled | (self._inner >= rule.inner_iterations)
        self.outer = self.outer + self.ended
        self.idle = torch.where(self.settled & (self._inner <= 1), self.idle + 1, torch.where(moving, 0, self.idle))
        self._inner = torch.where(self.ended, 0, self._inner)

    def _step_lengths(self) -> Tensor:
        """Return step lengths (V,): lr, or min(1, 1/|g|_1) lr for the first step of a problem."""
        first = torch.clamp(1.0 / self.gradients.abs().sum(1), max=1.0)
        return self.rule.learning_rate * torch.where(self._age == 0, first, torch.ones_like(first))

    def _directions(self, learn: Tensor) -> Tensor:
        """Return (V, D), the negative of the inverse Hessian approximation times the gradient.

        The pair (s, y) of the last step is stored first, for the problems flagged in `learn` with positive curvature.
        """
        differences = self.gradients - self._previous_gradients
        index, slot = self._store(differences, learn)
        width = int(self._count.max())
        scale = self._scale.to(self.points)[:, None]
        if width == 0:
            return -scale * self.gradients
        s, y = self._s[:, :width], self._y[:, :width]
        # The long vectors are read once, both for the new row of the small matrices and for the direction.
        rows = torch.stack([differences, self.gradients], 1)
        sy, yy = (torch.bmm(rows, pairs.transpose(1, 2)).double() for pairs in (s, y))
        self._yy[index, :width, slot] = self._yy[index, slot, :width] = yy[index, 0]
        u, w = (part.to(self.points) for part in self._compact(sy, yy[:, 1:], index, slot))
        return -(scale * (self.gradients - torch.bmm(u, y).squeeze(1)) + torch.bmm(w, s).squeeze(1))

    def _store(self, differences: Tensor, learn: Tensor) -> tuple[Tensor, Tensor]:
        """Store the last pairs in their slots; return the indices of the problems that stored one, and the slots."""
        curvature = (differences * self.steps).sum(1)
        index = (learn & (curvature > _CURVATURE)).nonzero().flatten()
        slot = self._head[index]
        self._s[index, slot] = self.steps[index]
        self._y[index, slot] = differences[index]
        self._scale[index] = (curvature[index] / differences[index].square().sum(1)).double()
        self._curvatures[index, slot] = curvature[index].double()
        self._inverse[index, slot] = 0.0
        self._inverse[index, :, slot] = 0.0
        self._count[index] = torch.clamp(self._count[index] + 1, max=self.rule.history)
        self._head[index] = (slot + 1) % self.rule.history
        return index, slot

    def _compact(self, sy: Tensor, q: Tensor, index: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
        """Return u = R^-1 p and w = R^-T ((D + gamma Y^T Y) u - gamma q), each (V, 1, width), by slot.

        Args:
            sy: (V, 2, width), the products of all s with the new y and with the gradient; the latter is p.
            q: (V, 1, width), the products of all y with the gradient.
            index, slot: the problems that have stored a pair, and its slot; its column of R^-1 is computed here.
        """
        width = sy.shape[2]
        inverse, curvatures = self._inverse[:, :width, :width], self._curvatures[:, :width]
        # R = [[R', r], [0, c]] has the inverse [[R'^-1, -R'^-1 r / c], [0, 1 / c]].
        both = torch.bmm(sy, inverse.transpose(1, 2))
        u = both[:, 1:]
        column = both[index, 0] / -curvatures[index, slot][:, None]
        column[torch.arange(len(index), device=slot.device), slot] = 1.0 / curvatures[index, slot]
        inverse[index, :, slot] = column
        u[index, 0] += sy[index, 1, slot][:, None] * column
        gamma = self._scale[:, None, None]
        right = curvatures[:, None] * u + gamma * (torch.bmm(u, self._yy[:, :width, :width]) - q)
        return u, torch.bmm(right, inverse)

    def _counts(self) -> Tensor:
        return torch.zeros(len(self.points), dtype=torch.int64, device=self.points.device)

    def _flags(self, value: bool) -> Tensor:
        return torch.full((len(self.points),), value, dtype=torch.bool, device=self.points.device)
