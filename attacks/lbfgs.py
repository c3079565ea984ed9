"""L-BFGS over many independent problems at once.

The step rule of each problem is that of `torch.optim.LBFGS` without a line search, which is what DLG and iDLG use:
steps of length lr along the quasi-Newton direction, the first one scaled by 1/|g|_1, and a pair (s, y) learnt only
where s.y > 1e-10. Each problem has its own history, step, counters and stop state; they share nothing but the calls
that evaluate them. A problem that is started anew (a restart) or has finished does not touch its neighbours.

The product of the inverse Hessian approximation with the gradient is taken in the compact form of Byrd, Nocedal and
Schnabel (1994, Mathematical Programming 63, eq. 3.13): the long vectors are read in two batched products each, and
everything else happens in (history x history) matrices, kept in float64 because they are close to singular near a
solution.
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
        outer: (V,), outer steps finished, as `torch.optim.LBFGS.step` would count them.
        iterations: (V,), steps taken.
        evaluations: (V,), evaluations of loss and gradient.
        settled: (V,), whether the last iteration ended an outer step by a tolerance, not by its length.
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
        self.settled = self._flags(False)
        self.stationary = self._flags(False)
        self.outer, self.iterations, self.evaluations = (self._counts() for _ in range(3))
        self._inner, self._age, self._count, self._head = (self._counts() for _ in range(4))
        self._previous_gradients = torch.zeros_like(points)
        self._steps = torch.zeros_like(points)
        self._scale = points.new_ones((victims,), dtype=torch.float64)
        self._s = points.new_zeros((victims, rule.history, unknowns))
        self._y = torch.zeros_like(self._s)
        self._sy = points.new_zeros((victims, rule.history, rule.history), dtype=torch.float64)
        self._yy = torch.zeros_like(self._sy)

    def restart(self, rows: Tensor, points: Tensor) -> None:
        """Begin the problems at indices `rows` anew at `points` (len(rows), D); counters of work go on."""
        self.points[rows] = points
        self.fresh[rows] = True
        self.settled[rows] = self.stationary[rows] = False
        for counter in (self.outer, self._inner, self._age, self._count, self._head):
            counter[rows] = 0
        self._scale[rows] = 1.0

    def keep(self, rows: Tensor) -> None:
        """Drop all problems but those at indices `rows`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])

    def advance(self, evaluate: Evaluate) -> None:
        """Take one step in each running problem, then evaluate all of them; a fresh one is only evaluated."""
        active = self.running & ~self.fresh
        self._learn(active & (self._age > 0))
        directions = self._directions()
        blocked = active & ((directions * self.gradients).sum(1) > -self.rule.tolerance_change)
        moving = active & ~blocked
        self._steps = torch.where(moving[:, None], directions * self._step_lengths()[:, None], 0.0)
        self._previous_gradients = self.gradients
        self._age = self._age + moving
        self.iterations = self.iterations + moving
        self.points = self.points + self._steps

        before = self.losses
        losses, gradients = evaluate(self.points)
        self.losses = torch.where(self.running, losses, self.losses)
        self.gradients = torch.where(self.running[:, None], gradients, self.gradients)
        self.evaluations = self.evaluations + self.running
        self.fresh = self.fresh & ~self.running
        self._close_outer_steps(moving, blocked, before)

    def _close_outer_steps(self, moving: Tensor, blocked: Tensor, before: Tensor) -> None:
        """Count an outer step where `torch.optim.LBFGS.step` would return; it restarts from where it was."""
        rule = self.rule
        optimal = self.running & (self.gradients.abs().amax(1) <= rule.tolerance_gradient)
        small_step = self._steps.abs().amax(1) <= rule.tolerance_change
        small_change = (self.losses - before).abs() < rule.tolerance_change
        self._inner = self._inner + moving
        self.settled = optimal | blocked | (moving & (small_step | small_change))
        self.stationary = optimal | blocked
        ended = self.settled | (self._inner >= rule.inner_iterations)
        self.outer = self.outer + ended
        self._inner = torch.where(ended, 0, self._inner)

    def _step_lengths(self) -> Tensor:
        """Return (V,) lengths: lr, and for the first step of a problem min(1, 1/|g|_1) lr."""
        first = torch.clamp(1.0 / self.gradients.abs().sum(1), max=1.0)
        return self.rule.learning_rate * torch.where(self._age == 0, first, torch.ones_like(first))

    def _learn(self, rows: Tensor) -> None:
        """Add the pair (s, y) of the last step to the history of the problems flagged in `rows`, if it is curved."""
        differences = self.gradients - self._previous_gradients
        curvature = (differences * self._steps).sum(1)
        index = (rows & (curvature > _CURVATURE)).nonzero().flatten()
        if len(index) == 0:
            return
        slot = self._head[index]
        self._s[index, slot] = self._steps[index]
        self._y[index, slot] = differences[index]
        s, y = self._steps[:, :, None], differences[:, :, None]
        width = int(self._count.max()) + 1
        sy = torch.bmm(self._s[:, :width], y).squeeze(2).double()[index]
        ys, yy = torch.bmm(self._y[:, :width], torch.cat([s, y], 2)).double()[index].unbind(2)
        self._sy[index, slot, : ys.shape[1]] = ys
        self._yy[index, slot, : yy.shape[1]] = yy
        self._sy[index, : sy.shape[1], slot] = sy
        self._yy[index, : yy.shape[1], slot] = yy
        self._scale[index] = curvature[index].double() / (differences[index] ** 2).sum(1).double()
        self._count[index] = torch.clamp(self._count[index] + 1, max=self.rule.history)
        self._head[index] = (slot + 1) % self.rule.history

    def _directions(self) -> Tensor:
        """Return (V, D), minus the inverse Hessian approximation times the gradient."""
        width = int(self._count.max())
        scale = self._scale.to(self.points)[:, None]
        if width == 0:
            return -scale * self.gradients
        g = self.gradients[:, :, None]
        s, y = self._s[:, :width], self._y[:, :width]
        # Slots hold pairs in no order; the small matrices are put in the order of age, oldest first.
        ages = torch.arange(width, device=self.points.device).expand(len(self.points), -1)
        full = (self._count == self.rule.history)[:, None]
        order = torch.where(full, (self._head[:, None] + ages) % self.rule.history, ages)
        known = ages < self._count[:, None]
        p = torch.bmm(s, g).squeeze(2).double().gather(1, order) * known
        q = torch.bmm(y, g).squeeze(2).double().gather(1, order) * known
        u, w = self._compact(p, q, order, known)
        unorder = torch.zeros_like(u).scatter(1, order, u), torch.zeros_like(w).scatter(1, order, w)
        u, w = (part.to(self.points)[:, None, :] for part in unorder)
        return -(scale * (self.gradients - torch.bmm(u, y).squeeze(1)) + torch.bmm(w, s).squeeze(1))

    def _compact(self, p: Tensor, q: Tensor, order: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return u = R^-1 p and w = R^-T ((D + gamma Y^T Y) u - gamma q), all (V, history), oldest pair first."""
        pairs = (known[:, :, None] & known[:, None, :]).double()
        sy = _reorder(self._sy, order) * pairs
        yy = _reorder(self._yy, order) * pairs
        diagonal = sy.diagonal(dim1=1, dim2=2)
        r = sy.triu() + torch.diag_embed((~known).double())
        gamma = self._scale[:, None]
        u = torch.linalg.solve_triangular(r, p[:, :, None], upper=True)
        right = diagonal[:, :, None] * u + gamma[:, :, None] * torch.bmm(yy, u) - (gamma * q)[:, :, None]
        w = torch.linalg.solve_triangular(r.transpose(1, 2), right, upper=False)
        return u.squeeze(2), w.squeeze(2)

    def _counts(self) -> Tensor:
        return torch.zeros(len(self.points), dtype=torch.int64, device=self.points.device)

    def _flags(self, value: bool) -> Tensor:
        return torch.full((len(self.points),), value, dtype=torch.bool, device=self.points.device)


def _reorder(matrices: Tensor, order: Tensor) -> Tensor:
    """Return (V, k, k) with rows and columns of (V, m, m) taken in `order` (V, k)."""
    width = order.shape[1]
    rows = matrices.gather(1, order[:, :, None].expand(-1, -1, matrices.shape[2]))
    return rows.gather(2, order[:, None, :].expand(-1, width, -1))
