"""L-BFGS over many independent problems at once.

The step rule of each problem is that of `torch.optim.LBFGS` without a line search, which is what DLG and iDLG use:
steps of length lr along the quasi-Newton direction, the first one scaled by 1/|g|_1, and a pair (s, y) learnt only
where s.y > 1e-10. Each problem has its own history, step, counters and stop state; they share nothing but the calls
that evaluate them. A problem that is started anew (a restart) or has finished does not touch its neighbours.

The product of the inverse Hessian approximation with the gradient is taken in the compact form of Byrd, Nocedal and
Schnabel (1994, Mathematical Programming 63, eq. 3.13): the long vectors are read in two batched products each, and
everything else happens in (history x history) matrices, kept in float64 because they are close to singular near a
solution. Of the triangle R = upper(S^T Y) only the inverse is kept: a new pair appends a column to it and an old one
takes its row and column away, so nothing is solved and the pairs stay in their slots, in whatever order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (V, D) -> losses (V,) and gradients (V, D)."""

_CURVATURE = 1e-10


@dataclass(frozen=True)
class StepRule:
    """Constants of the step rule; the defaults are those of `torch.optim.LBFGS`.

    Attributes:
        learning_rate: step length.
        inner_iterations: iterations of one outer step ("max_iter").
        history: pairs (s, y) kept.
        tolerance_gradient: an outer step ends where max |g| is at most this.
        tolerance_change: an outer step ends where the step or the change of the loss is at most this.
    """

    learning_rate: float = 1.0
    inner_iterations: int = 20
    history: int = 100
    tolerance_gradient: float = 1e-7
    tolerance_change: float = 1e-9


class BatchedLBFGS:
    """V minimisations side by side.

    Attributes:
        points: (V, D), where each problem is now.
        losses, gradients: (V,) and (V, D), at `points`; not yet known for a fresh problem.
        steps: (V, D), the step that led to `points`; 0 where the last iteration took none.
        outer: (V,), outer steps finished, as `torch.optim.LBFGS.step` would count them.
        iterations: (V,), steps taken.
        evaluations: (V,), evaluations of loss and gradient.
        ended: (V,), whether the last iteration ended an outer step.
        settled: (V,), whether the last iteration ended an outer step by a tolerance, not by its length.
        idle: (V,), how many outer steps in a row a tolerance has ended after one iteration.
        stationary: (V,), whether no further outer step could move the problem.
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
        self._previous_gradients = torch.zeros_like(points)
        self.steps = torch.zeros_like(points)
        self._scale = points.new_ones((victims,), dtype=torch.float64)
        self._s = points.new_zeros((victims, rule.history, unknowns))
        self._y = torch.zeros_like(self._s)
        self._inverse = points.new_zeros((victims, rule.history, rule.history), dtype=torch.float64)
        self._yy = torch.zeros_like(self._inverse)
        self._curvatures = points.new_zeros((victims, rule.history), dtype=torch.float64)

    def restart(self, rows: Tensor, points: Tensor) -> None:
        """Begin the problems at indices `rows` anew at `points` (len(rows), D); counters of work go on."""
        self.points[rows] = points
        self.fresh[rows] = True
        self.settled[rows] = self.stationary[rows] = False
        for state in (self.outer, self.idle, self._inner, self._age, self._count, self._head):
            state[rows] = 0
        # Whatever a diverged problem has left must not be multiplied by 0: that would be no number.
        for history in (self._s, self._y, self._inverse, self._yy, self._curvatures):
            history[rows] = 0.0
        self._scale[rows] = 1.0

    def replace(self, rows: Tensor, points: Tensor) -> None:
        """Put new problems, which start at `points` (len(rows), D), in place of those at indices `rows`."""
        self.restart(rows, points)
        self.iterations[rows] = self.evaluations[rows] = 0

    def keep(self, rows: Tensor) -> None:
        """Drop all problems but those at indices `rows`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])

    def advance(self, evaluate: Evaluate) -> None:
        """Take one step in each running problem, then evaluate all of them; a fresh one is only evaluated."""
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

    def move(self, rows: Tensor, points: Tensor, evaluate: Evaluate) -> None:
        """Put the problems flagged in `rows` (V,) at `points` (V, D) and evaluate them there.

        History and last step are kept as they are, as if someone had changed the parameters of `torch.optim.LBFGS`
        between two calls of its `step`.
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
        """Count an outer step where `torch.optim.LBFGS.step` would return; it restarts from where it was."""
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
        """Return (V,) lengths: lr, and for the first step of a problem min(1, 1/|g|_1) lr."""
        first = torch.clamp(1.0 / self.gradients.abs().sum(1), max=1.0)
        return self.rule.learning_rate * torch.where(self._age == 0, first, torch.ones_like(first))

    def _directions(self, learn: Tensor) -> Tensor:
        """Return (V, D), minus the inverse Hessian approximation times the gradient.

        The pair (s, y) of the last step is learnt first, by the problems flagged in `learn` for which it is curved.
        """
        differences = self.gradients - self._previous_gradients
        index, slot = self._store(differences, learn)
        width = int(self._count.max())
        scale = self._scale.to(self.points)[:, None]
        if width == 0:
            return -scale * self.gradients
        s, y = self._s[:, :width], self._y[:, :width]
        # The long vectors are read once for the new row of the small matrices and for the direction alike.
        rows = torch.stack([differences, self.gradients], 1)
        sy, yy = (torch.bmm(rows, pairs.transpose(1, 2)).double() for pairs in (s, y))
        self._yy[index, :width, slot] = self._yy[index, slot, :width] = yy[index, 0]
        u, w = (part.to(self.points) for part in self._compact(sy, yy[:, 1:], index, slot))
        return -(scale * (self.gradients - torch.bmm(u, y).squeeze(1)) + torch.bmm(w, s).squeeze(1))

    def _store(self, differences: Tensor, learn: Tensor) -> tuple[Tensor, Tensor]:
        """Write the last pairs into their slots; return which problems learnt, and their slots."""
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
            sy: (V, 2, width), the products of all s with the new y and, that is p, with the gradient.
            q: (V, 1, width), the products of all y with the gradient.
            index, slot: which problems have learnt a pair, and where; R^-1 gets its column here.
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
