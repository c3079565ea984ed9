"""The attack's own loss at given examples: whether an attack on an update looks for the right thing."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.engines.choice import Choice, choose, open_engine
from attacks.engines.engine import Engine
from attacks.engines.folded import FoldedClients
from attacks.engines.plain import matched, norm_of, own_errors, update_of
from attacks.replay.engine import ReplayedClients
from fl_sim.errors import ConfigError
from fl_sim.losses import targets_of
from fl_sim.observed import batch_size, same_problem, steps_as_used
from fl_sim.records import CapturedUpdate
from fl_sim.seeding import torch_stream

_SEED = 5

Examples = tuple[Tensor, Tensor]
"""Inputs (N, C, H, W), or (T, N, C, H, W) for events, in the order of the client's steps, and labels (N,).

Instead of the N different examples there may be all that the steps use, one after another, those of later epochs too.
"""


def mismatch(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> float:
    """Return how far the update of examples is from the captured one; see `mismatches`."""
    return mismatches([capture], [(inputs, labels)])[0]


def mismatches(captures: Sequence[CapturedUpdate], examples: Sequence[Examples]) -> list[float]:
    """Return how far the updates of examples are from the captured ones, relative to their norm: about 0 at the truth.

    Where later epochs use the examples in another order, the update of the N different examples is not the captured
    one: an attack, which cannot know their order, takes it to be that of the first epoch. That of all examples is.

    Args:
        captures: updates of any clients.
        examples: of each capture.

    Raises:
        ConfigError: no engine can evaluate a model, or facts about a client are missing.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, capture in enumerate(captures):
        groups.setdefault((same_problem(capture), len(examples[index][1])), []).append(index)
    found: dict[int, float] = {}
    for group in groups.values():
        choice, first = choose([captures[index] for index in group]), captures[group[0]]
        precision, names = _precision(first), matched(first)
        engine = _opened(first, choice, len(examples[group[0]][1]), precision)
        for index in group:
            engine.replace(0, captures[index])
            distance = _distance(engine, captures[index], examples[index], precision)
            norm = norm_of(captures[index], names)
            found[index] = distance / norm if norm > 0 else float(distance > 0)
    return [found[index] for index in range(len(captures))]


class Rounded(NamedTuple):
    """What rounding alone does to the update of examples, all relative to the norm of the captured one.

    Attributes:
        usual: distance of the update to the captured one, as an attack computes it.
        nearest: the smallest distance of all replays.
        spread: the largest distance of two replays to each other.
    """

    usual: float
    nearest: float
    spread: float


def rounded(capture: CapturedUpdate, inputs: Tensor, labels: Tensor) -> Rounded:
    """Return how far replays of a client's steps that differ in their rounding only are from its update.

    Where an input is as good as on the edge of a ReLU or of two pixels of a pooling, the last digit decides on which
    side it is, and each later step, with momentum the more, carries the difference on. The client rounded in a way that
    nobody knows: it depends on its processor, its library and its threads. The steps are taken in plain torch, as a
    client does, and replayed as an attack does, in float64, and from parameters that are each moved to the next number.
    They are all as right.

    Args:
        capture: weights after local steps, whose engine was chosen before; see `mismatches`.
        inputs, labels: the examples, see `Examples`.

    Raises:
        ConfigError: the user's own code fails.
    """
    usual, names = _precision(capture), matched(capture)
    norm = norm_of(capture, names) or 1.0
    length = math.sqrt(sum(float(capture.update[name].double().square().sum()) for name in names)) or 1.0
    steps = None if len(labels) == batch_size(capture) else steps_as_used(capture)
    plain = update_of(capture, inputs, labels, seed=_SEED, steps=steps)
    ends = [{name: plain[name].double() for name in names}]
    distances = [_between(ends[0], {name: capture.update[name].double() for name in names}) / length]
    for one, precision in ((capture, usual), (capture, torch.float64), (_nudged(capture), usual)):
        engine = _replayed(one, len(labels), precision)
        try:
            with own_errors(capture):
                squared, moved = engine.ended(inputs.to(precision), _targets(capture, labels, precision))
        except ConfigError:  # a module may compute in float32 only
            if precision is usual:
                raise
            continue
        distances.append(float(squared.sqrt()) / norm)
        ends.append({name: moved[name].double() for name in names})
    spread = max(_between(one, other) for one, other in itertools.combinations(ends, 2)) / length
    return Rounded(distances[1], min(distances), spread)


def _nudged(capture: CapturedUpdate) -> CapturedUpdate:
    """Return a capture whose sent parameters are each moved to the next larger or smaller number, at random."""
    draws = torch_stream(_SEED, "rounding", capture.id)
    names = matched(capture)

    def nudged(value: Tensor) -> Tensor:
        ways = torch.randint(2, value.shape, generator=draws).to(value) * 2.0 - 1.0
        return torch.nextafter(value, ways * torch.inf)

    sent = {name: nudged(value) if name in names else value for name, value in capture.parameters.items()}
    return dataclasses.replace(capture, parameters=sent)


def _between(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in one))


def _precision(capture: CapturedUpdate) -> torch.dtype:
    """Return the precision of the parameters that were sent, float32 unless they are in float64."""
    is_double = next(iter(capture.parameters.values())).dtype == torch.float64
    return torch.float64 if is_double else torch.float32


def _opened(capture: CapturedUpdate, choice: Choice, count: int, precision: torch.dtype) -> Engine:
    """Return the engine for a victim: of several local steps, the client's own module, one victim after another."""
    if choice.engine == FoldedClients.name and count == batch_size(capture):
        return open_engine([capture], choice, device="cpu", precision=precision)
    return _replayed(capture, count, precision)


def _replayed(capture: CapturedUpdate, count: int, precision: torch.dtype) -> ReplayedClients:
    """Return the replay of a client's module, which takes the examples in their order of use if there are so many."""
    steps = None if count == batch_size(capture) else steps_as_used(capture)
    return ReplayedClients([capture], device="cpu", precision=precision, steps=steps)


def _distance(engine: Engine, capture: CapturedUpdate, examples: Examples, precision: torch.dtype) -> float:
    """Return the distance of the update of examples to that of the victim with which the engine is loaded."""
    inputs, targets = examples[0].to(precision), _targets(capture, examples[1], precision)
    if isinstance(engine, ReplayedClients):
        squared, _ = engine.ended(inputs, targets)
    else:
        squared = engine.distances(inputs[None].requires_grad_(), targets[None]).detach()[0]
    return float(squared.sqrt())


def _targets(capture: CapturedUpdate, labels: Tensor, precision: torch.dtype) -> Tensor:
    return targets_of(capture.training, labels, capture.model.input.classes).to(precision)
