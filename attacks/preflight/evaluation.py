"""One evaluation of the attack's loss at planted examples: what it is, how long it takes, and how much it keeps."""

from __future__ import annotations

import math
import time
import weakref
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.engines.choice import Choice, choose, open_engine
from attacks.engines.plain import Planted, norm_of, own_errors, planted
from attacks.replay.engine import ReplayedClients
from fl_sim.observed import local_steps
from fl_sim.records import CapturedUpdate

TOGETHER = 16
"""Victims at a time whose evaluation is measured."""

_SEED = 3
_LONGEST = 1.0
"""Seconds that an evaluation of all examples may be expected to take; longer ones are estimated from fewer examples."""

_LONGEST_FIRST = 5.0
"""Seconds of a first evaluation above which its time is taken as it is."""

_TIMED = 3
"""Evaluations of several victims, of which the fastest counts."""

_COPIES = 3
"""Copies of the parameters that an evaluation has besides its graph: as sent, as trained, and their gradient."""


@dataclass(frozen=True)
class Evaluation:
    """The attack's loss at planted examples, evaluated with its second derivative.

    Attributes:
        at_truth: distance of the update of the client's own examples to its update, relative to its norm: about 0.
        as_drawn: the same for an update for which the client drew its random numbers; equal if it draws none.
        norm: norm of the update, in units of the gradient.
        milliseconds: of one evaluation of one victim on one CPU core.
        megabytes: an estimate of what it keeps at a time.
        estimated: whether time and memory are scaled up from fewer examples and steps.
    """

    at_truth: float
    as_drawn: float
    norm: float
    milliseconds: float
    megabytes: float
    estimated: bool


def evaluated(capture: CapturedUpdate, choice: Choice, names: Collection[str]) -> Evaluation:
    """Return an evaluation of the attack's loss by the chosen engine.

    Args:
        capture: whose model, parameters and training are used.
        choice: the engine.
        names: of the parameters that the client trains and shares.

    Raises:
        ConfigError: the user's own code fails.
    """
    precision = torch.float32
    one = planted(capture, seed=_SEED, precision=precision)
    at_truth, seconds, kept = _measured(one, choice, names)
    few, every = local_steps(one.capture), local_steps(capture)
    longer = sum(map(len, every)) / sum(map(len, few))
    larger = max(map(len, every)) / max(map(len, few))
    whole = longer == 1 or seconds * longer <= _LONGEST
    if whole and longer != 1:
        one = planted(capture, seed=_SEED, precision=precision, whole=True)
        at_truth, seconds, kept = _measured(one, choice, names)
    as_drawn = at_truth
    if choice.draws:
        as_drawn, *_ = _measured(planted(capture, seed=_SEED, precision=precision, drawn=True), choice, names)
    copies = _COPIES * sum(value.nbytes for value in capture.parameters.values())
    return Evaluation(
        at_truth=at_truth,
        as_drawn=as_drawn,
        norm=norm_of(one.capture, names),
        milliseconds=1e3 * seconds * (1.0 if whole else longer),
        megabytes=(kept * (1.0 if whole else larger) + copies) / 1e6,
        estimated=not whole,
    )


def seconds_together(capture: CapturedUpdate, choice: Choice, victims: int) -> float:
    """Return the seconds of an evaluation of one of so many victims that are attacked at a time, on one CPU core.

    Args:
        capture: whose model, parameters and training are used; with several local steps, the first ones stand for all.
        choice: the engine.
        victims: V, at least 1.
    """
    one = planted(capture, seed=_SEED, precision=torch.float32)
    engine = open_engine([one.capture] * victims, choice, device="cpu", precision=one.inputs.dtype)
    candidates = torch.stack([one.inputs] * victims).requires_grad_()
    targets, seconds = torch.stack([one.targets] * victims), math.inf
    for _ in range(_TIMED):  # the first may wait for libraries to set themselves up
        start = time.perf_counter()
        with own_errors(one.capture):
            torch.autograd.grad(engine.distances(candidates, targets).sum(), candidates)
        seconds = min(seconds, time.perf_counter() - start)
    few, every = (sum(map(len, local_steps(each))) for each in (one.capture, capture))
    return seconds * every / few / victims


def seconds_of(capture: CapturedUpdate, victims: int) -> float:
    """Return the seconds of an evaluation of one of some victims of one problem, on one CPU core.

    Raises:
        ConfigError: the model cannot be attacked.
    """
    choice = choose([capture])
    return seconds_together(capture, choice, 1 if choice.engine == ReplayedClients.name else min(victims, TOGETHER))


def _measured(one: Planted, choice: Choice, names: Collection[str]) -> tuple[float, float, int]:
    """Return the relative distance at a client's own examples, the seconds that it took, and the bytes it kept."""
    engine = open_engine([one.capture], choice, device="cpu", precision=one.inputs.dtype)
    candidate, kept = one.inputs[None].requires_grad_(), _Kept()

    def evaluate() -> tuple[Tensor, float]:
        start = time.perf_counter()
        distance = engine.distances(candidate, one.targets[None])
        torch.autograd.grad(distance.sum(), candidate)
        return distance, time.perf_counter() - start

    with own_errors(one.capture), torch.autograd.graph.saved_tensors_hooks(kept.hold, lambda held: held.tensor):
        distance, seconds = evaluate()
    if seconds < _LONGEST_FIRST:  # the first may have waited for libraries to set themselves up
        _, seconds = evaluate()
    return float(distance.detach()[0].sqrt()) / (norm_of(one.capture, names) or 1.0), seconds, kept.most


class _Kept:
    """Counts the bytes of the tensors that graphs hold at a time, each storage once."""

    def __init__(self) -> None:
        self.most = 0
        self._bytes = 0
        self._holders: Counter[int] = Counter()

    def hold(self, tensor: Tensor) -> _Held:
        """Return what a graph keeps in place of a tensor."""
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        self._bytes += 0 if self._holders[place] else size
        self._holders[place] += 1
        self.most = max(self.most, self._bytes)
        return _Held(tensor, lambda: self._release(place, size))

    def _release(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        self._bytes -= 0 if self._holders[place] else size


class _Held:
    """A tensor that a graph keeps; `release` is called when the graph lets go of it."""

    def __init__(self, tensor: Tensor, release: Callable[[], None]) -> None:
        self.tensor = tensor
        weakref.finalize(self, release)
