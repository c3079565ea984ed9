"""Adam on the signs of the slopes of the matching loss and of a smoothness prior, projected to the box [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.descent.priors import absolute_variation, blurred
from attacks.descent.track import Track
from attacks.matching.film import evenly
from attacks.matching.problem import MatchingProblem

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8
_CURVE_POINTS = 300

Rates = Callable[[float], float]
"""Share of the steps that are done -> factor of the learning rate."""


def linear(done: float) -> float:
    """Return the factor of a rate that falls linearly to 0.4 % of its start."""
    return 1.0 - done + 4e-3 * done


def stepwise(done: float) -> float:
    """Return the factor of a rate that is divided by ten after 3/8, 5/8 and 7/8 of the steps (Geiping et al. 2020)."""
    return 0.1 ** sum(done >= mark / 8 for mark in (3, 5, 7))


@dataclass(frozen=True)
class Course:
    """How a descent is made.

    Attributes:
        steps: number of steps.
        learning_rate: of the first step, in units of the range of the inputs.
        rates: its decay.
        tv_weight: weight of the total variation, see `absolute_variation`.
        relative: whether this weight is multiplied by the current matching loss of each victim. What is minimised is
            then the logarithm of the loss, plus the total variation, which matters less the nearer the loss is to 0.
        blur: standard deviations in pixels of the blur of the slopes at the first and the last step; zeros for none.
        late: share of the steps after which candidates may become the answer.
        snapshots: number of iterates that the track keeps as pictures.
    """

    steps: int
    learning_rate: float
    rates: Rates
    tv_weight: float
    relative: bool = False
    blur: tuple[float, float] = (0.0, 0.0)
    late: float = 0.0
    snapshots: int = 0


def descend(problem: MatchingProblem, points: Tensor, course: Course) -> Track:
    """Return the candidates of a descent from points (V, unknowns).

    The best candidate has the smallest sum of the matching loss and the weighted total variation: the latter is part
    of what the attack knows, and the matching loss alone prefers noise.

    Args:
        problem: of the V victims.
        points: inputs in [0, 1], and label logits if labels are unknown; the logits are neither signed nor clamped.
        course: how to descend.
    """
    every = math.ceil((course.steps + 1) / _CURVE_POINTS)
    shown = evenly(course.steps, course.snapshots)
    track, moments = Track.start(points), (torch.zeros_like(points), torch.zeros_like(points))
    for step in range(course.steps + 1):
        done = step / max(course.steps, 1)
        losses, slopes = problem.evaluate(points)
        variation, roughness = _variation(problem, points)
        weight = _weight(course, losses)
        objective = losses + weight * variation
        track.see(points, objective, candidates=done >= course.late)
        if step % every == 0:
            track.curve.append(objective)
        over = step == course.steps or bool(track.diverged.all())
        if step in shown or (over and shown):
            track.pictures[step] = track.last
        if over:
            break
        slopes = _smoothed(problem, slopes, _sigma(course.blur, done)) + weight[:, None] * roughness
        size = problem.input_size
        direction = torch.cat([slopes[:, :size].sign(), slopes[:, size:]], 1)
        move = adam(direction.nan_to_num(0.0), moments, step + 1)
        points = points - course.learning_rate * course.rates(done) * move
        points = torch.cat([points[:, :size].clamp(0.0, 1.0), points[:, size:]], 1)
    return track


def _weight(course: Course, losses: Tensor) -> Tensor:
    """Return the weight (V,) of the total variation."""
    return course.tv_weight * losses if course.relative else torch.full_like(losses, course.tv_weight)


def _variation(problem: MatchingProblem, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the total variations (V,) and their slopes (V, unknowns)."""
    leaf = points.detach().requires_grad_()
    variation = absolute_variation(leaf[:, : problem.input_size].view(-1, *problem.input_shape))
    (slopes,) = torch.autograd.grad(variation.sum(), leaf)
    return variation.detach(), slopes


def _smoothed(problem: MatchingProblem, slopes: Tensor, sigma: float) -> Tensor:
    """Return slopes (V, unknowns) whose pixels are blurred."""
    if sigma <= 0:
        return slopes
    size = problem.input_size
    pixels = blurred(slopes[:, :size].view(-1, *problem.input_shape), sigma).flatten(1)
    return torch.cat([pixels, slopes[:, size:]], 1)


def _sigma(blur: tuple[float, float], done: float) -> float:
    """Return the standard deviation of the blur, which falls geometrically."""
    first, last = blur
    return first if first <= 0 or last <= 0 else last * (first / last) ** (1.0 - done)


def adam(direction: Tensor, moments: tuple[Tensor, Tensor], count: int) -> Tensor:
    """Return Adam's step for a direction, and update its moments (Kingma and Ba 2015).

    Args:
        direction: the slopes, or their signs.
        moments: running means of the slopes and of their squares; zeros at first.
        count: number of the step, from 1.
    """
    for moment, beta, value in zip(moments, _BETAS, (direction, direction.square()), strict=True):
        moment.mul_(beta).add_(value, alpha=1.0 - beta)
    mean, square = (moment / (1.0 - beta**count) for moment, beta in zip(moments, _BETAS, strict=True))
    return mean / (square.sqrt() + _EPSILON)
