"""The search over many victims, in parallel slots: restarts, divergence, best candidates, and turnover of victims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from attacks.contracts import StopReason
from attacks.matching.film import Film, Pictures
from attacks.matching.lbfgs import BatchedLBFGS, StepRule
from attacks.settings import IN, LAST, MatchingSettings

# An outer step that a tolerance ends after one iteration may be followed by a better one, but not this many in a row.
_IDLE = 5

# The loss tolerance of the published code suits first losses of about this size; relative to larger ones, it is scaled.
_USUAL_LOSS = 100.0

Guess = Callable[[int, int], Tensor]
"""(victim, attempt) -> the initial point (unknowns,) of that attempt."""


Project = Callable[[Tensor], Tensor]
"""Points (V, unknowns) -> points (V, unknowns)."""


class Problem(Protocol):
    """The problem to search: V rows of unknowns and their losses."""

    def candidates(self, points: Tensor) -> Tensor:
        """Return the candidates (V, inputs) in points (V, unknowns)."""
        ...

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses (V,) and gradients (V, unknowns) at points (V, unknowns)."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        ...

    def replace(self, row: int, victim: int) -> None:
        """Replace the victim at index `row` by victim number `victim` of all."""
        ...


class Search:
    """The search for V victims; call `run` once, then read the attributes.

    Several victims are searched in parallel, in slots; when one has finished, the next one takes its slot.

    Args:
        problem: the problem to search, initially with the victims 0 to slots - 1.
        guess: returns the initial point of each attempt.
        settings: budget, tolerances, restarts.
        victims: V.
        slots: number of victims in parallel.
        project: maps points to points after each outer step while L-BFGS keeps its state; only projected points are
            candidates. None for no projection.
        line_search: whether steps that do not decrease the loss are halved.

    Attributes:
        ends_last: whether the answer is the last iterate, not the best.
        best, last: (V, unknowns), the iterate with the smallest loss over all attempts, and the last iterate. If the
            answer is the last iterate, that is the last candidate.
        best_loss, last_loss: (V,), the losses of exactly these iterates.
        best_attempt: (V,), the attempt of the best iterate, from 0.
        curves: (V, iterations + 1), the loss at the start of each outer step of the attempt that leads to the answer;
            NaN after its end.
        reasons: how that attempt ended.
        attempts, iterations, evaluations: (V,), over all attempts.
        pictures: {victim: candidates at the start of outer steps of that attempt, and its last iterate}, as many as
            the settings ask for; {} for none.
    """

    def __init__(
        self,
        problem: Problem,
        guess: Guess,
        settings: MatchingSettings,
        *,
        victims: int,
        slots: int,
        project: Project | None = None,
        line_search: bool = False,
    ) -> None:
        self._problem, self._guess, self._settings, self._project = problem, guess, settings, project
        self.ends_last = settings.answer == LAST
        rule = StepRule(
            settings.learning_rate,
            settings.inner_iterations,
            settings.history,
            settings.tolerance_gradient,
            settings.tolerance_change,
            line_search,
        )
        points = torch.stack([guess(victim, 0) for victim in range(slots)])
        self._solver = BatchedLBFGS(points, rule)
        self._waiting = iter(range(slots, victims))
        self.rows = torch.arange(slots, device=points.device)
        self.best = points.new_empty((victims, points.shape[1]))
        self.best[:slots] = points if project is None else project(points)
        self.last = self.best.clone()
        self.best_loss = points.new_full((victims,), torch.inf)
        self.last_loss = self.best_loss.clone()
        self.best_attempt, self.iterations, self.evaluations = (
            torch.zeros(victims, dtype=torch.int64, device=points.device) for _ in range(3)
        )
        self.attempts = torch.ones_like(self.best_attempt)
        self.curves = points.new_full((victims, settings.iterations + 1), torch.nan)
        self._curves = self.curves.clone()
        self.reasons = [StopReason.BUDGET] * victims
        self.pictures: dict[int, Pictures] = {}
        self._films: dict[int, Film] = {}
        for victim in range(slots):
            self._begin(victim, points[victim])

    def run(self, on_finish: Callable[[int], None]) -> None:
        """Search until every victim has converged, diverged for good, or spent its budget.

        Args:
            on_finish: called with the number of victims that have just finished.
        """
        while len(self.rows) > 0:
            self._solver.advance(self._problem.evaluate)
            if self._project is None:
                self._record(self._solver.running)
            else:
                self._record(self._projected(self._project))
            finished = self._judge()
            if finished:
                on_finish(finished)
                self._drop_finished()

    def _projected(self, project: Project) -> Tensor:
        """Project the points whose outer step has just ended or whose budget is spent; return their flags (V,)."""
        solver = self._solver
        rows = solver.running & (solver.ended | (solver.outer >= self._settings.iterations))
        if rows.any():
            solver.move(rows, project(solver.points), self._problem.evaluate)
        return rows

    def _record(self, candidates: Tensor) -> None:
        """Update loss curves and best candidates with the iterates just evaluated, flagged in `candidates` (V,)."""
        solver = self._solver
        column = solver.outer.clamp(max=self._settings.iterations)
        unset = candidates & self._curves[self.rows, column].isnan()
        self._film(unset & (solver.outer > 0))
        self._curves[self.rows[unset], column[unset]] = solver.losses[unset]
        better = candidates & (solver.losses < self.best_loss[self.rows])
        rows = self.rows[better]
        self.best[rows] = solver.points[better]
        self.best_loss[rows] = solver.losses[better]
        self.best_attempt[rows] = self.attempts[rows] - 1
        if self._ends_at_candidates:
            rows = self.rows[candidates]
            self.last[rows], self.last_loss[rows] = solver.points[candidates], solver.losses[candidates]

    def _judge(self) -> int:
        """End or restart the attempts that are over; return the number of victims that have finished."""
        solver, settings = self._solver, self._settings
        diverged = ~torch.isfinite(solver.losses)
        if settings.divergence > 0 and settings.thresholding != IN:
            energy = self._problem.candidates(solver.points).square().mean(1)
            diverged |= ~(energy <= settings.divergence)
        first = self._curves[self.rows, 0]
        fallen = solver.losses < settings.loss_tolerance / _USUAL_LOSS * first
        solved = fallen | (solver.losses < settings.loss_tolerance)
        small = solver.steps.square().mean(1).sqrt() < settings.step_tolerance
        converged = solved & (solver.settled | solver.stationary | (fallen & small))
        stalled = ~solved & (solver.stationary | (solver.idle >= _IDLE))
        spent = solver.outer >= settings.iterations
        over = (solver.running & (diverged | converged | stalled | spent)).nonzero().flatten().tolist()
        finished = 0
        for row in over:
            victim = int(self.rows[row])
            reason = _reason(bool(diverged[row]), bool(converged[row]), bool(stalled[row]))
            self._end_attempt(row, victim, reason)
            # If a stalled loss has fallen this far, only rounding is left, and a new guess would end there too.
            low = bool(solver.losses[row] < settings.loss_tolerance * first[row])
            failed = reason is StopReason.DIVERGED or (reason is StopReason.STALLED and not low)
            if failed and int(self.attempts[victim]) <= settings.restarts:
                self._restart(row, victim)
            else:
                self._leave(row)
                finished += 1
        return finished

    @property
    def _ends_at_candidates(self) -> bool:
        """Return whether the last iterate is the last projected one, even if an attempt ends within an outer step."""
        return self._project is not None and self.ends_last

    def _end_attempt(self, row: int, victim: int, reason: StopReason) -> None:
        if not self._ends_at_candidates:
            self.last[victim], self.last_loss[victim] = self._solver.points[row], self._solver.losses[row]
        self.iterations[victim] = self._solver.iterations[row]
        self.evaluations[victim] = self._solver.evaluations[row]
        if self.ends_last or int(self.best_attempt[victim]) == int(self.attempts[victim]) - 1:
            self.reasons[victim] = reason
            self.curves[victim] = self._curves[victim]
            if victim in self._films:
                end = int(self._solver.outer[row])
                self.pictures[victim] = self._films[victim].developed(end, self._solver.points[row])

    def _begin(self, victim: int, guess: Tensor) -> None:
        """Begin the film of an attempt, if pictures are asked for."""
        if self._settings.snapshots:
            shown = guess if self._project is None else self._project(guess[None])[0]
            self._films[victim] = Film(self._settings.snapshots, shown)

    def _film(self, starting: Tensor) -> None:
        """Let films see the iterates, flagged in `starting` (V,), at which an outer step starts."""
        if self._films:
            for row in starting.nonzero().flatten().tolist():
                self._films[int(self.rows[row])].see(int(self._solver.outer[row]), self._solver.points[row])

    def _restart(self, row: int, victim: int) -> None:
        guess = self._guess(victim, int(self.attempts[victim]))
        self.attempts[victim] += 1
        self._curves[victim] = torch.nan
        self._solver.restart(torch.tensor([row], device=self.rows.device), guess[None])
        self._begin(victim, guess)

    def _leave(self, row: int) -> None:
        """Give the slot to the next victim, or leave it idle if none is waiting."""
        victim = next(self._waiting, None)
        if victim is None:
            self._solver.running[row] = False
            return
        point = self._guess(victim, 0)[None]
        self._problem.replace(row, victim)
        self._solver.replace(torch.tensor([row], device=self.rows.device), point)
        self.rows[row] = victim
        self._begin(victim, point[0])
        self.best[victim] = self.last[victim] = (point if self._project is None else self._project(point))[0]

    def _drop_finished(self) -> None:
        """Drop finished victims once they are a quarter of the batch, since copying the histories takes time too."""
        running = self._solver.running.nonzero().flatten()
        if len(running) == 0:
            self.rows = self.rows[:0]
        elif len(running) <= 0.75 * len(self.rows):
            self._solver.keep(running)
            self._problem.keep(running)
            self.rows = self.rows[running]


def _reason(diverged: bool, converged: bool, stalled: bool) -> StopReason:
    if diverged:
        return StopReason.DIVERGED
    if converged:
        return StopReason.CONVERGED
    return StopReason.STALLED if stalled else StopReason.BUDGET
