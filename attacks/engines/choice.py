"""The choice of an engine, and the self-check that precedes every search.

Each engine must give the distances that plain torch gives, for two random batches of the same client: about 0 at the
batch that was planted, and the true distance at another. An engine that does not is not used.
"""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.engines.engine import Engine
from attacks.engines.folded import FoldedClients, FoldedCosines, not_together, unfoldable
from attacks.engines.plain import (
    Planted,
    draws,
    matched,
    own_errors,
    parameters_only,
    planted,
    refuse_once,
    squared_distance,
)
from attacks.folding import Fold
from attacks.replay.engine import ReplayedClients
from attacks.replay.measures import Measure
from attacks.replay.together import ReplayedTogether
from attacks.tokens import refuse_unread
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS, build_model
from fl_sim.observed import local_steps, same_problem
from fl_sim.records import CapturedUpdate

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest relative error of an engine's distances, by the precision of the check."""

_SEEDS = (1, 2)
_OF_PRECISION = ("double", "dtype")
"""Words in the errors of a module that computes in float32 only."""

Build = Callable[[Sequence[CapturedUpdate], torch.dtype], Engine]


@dataclass(frozen=True)
class Choice:
    """The engine for a group of victims, and what its check found.

    Attributes:
        engine: "folded" (one batch, many victims at a time), "replayed together" (several local steps, many victims
            at a time) or "replayed" (anything, one victim after another).
        error: largest relative error of its distances; see `TOLERANCE`.
        why_not_folded: the reason, or "".
        draws: whether the client's training draws random numbers, which no attack can know.
    """

    engine: str
    error: float
    why_not_folded: str
    draws: bool


_CHECKED: dict[Hashable, Choice] = {}
"""The choices that this process has made, the oldest first."""

_MOST_CHECKED = 256


def choose(captures: Sequence[CapturedUpdate]) -> Choice:
    """Return the engine for victims of one problem; see `fl_sim.observed.same_problem`.

    A process checks the same clients once, however many attacks it makes on them.

    Raises:
        ConfigError: no engine gives what plain torch gives, or the user's own code fails.
    """
    case = _case(captures)
    if case not in _CHECKED:
        choice = _checked(captures)
        if len(_CHECKED) >= _MOST_CHECKED:
            del _CHECKED[next(iter(_CHECKED))]
        _CHECKED[case] = choice
    return _CHECKED[case]


def _case(captures: Sequence[CapturedUpdate]) -> Hashable:
    """Return all that the check of these captures reads."""
    first, last = captures[0], captures[-1]
    rates = frozenset(capture.learning_rate for capture in captures)
    update = frozenset((name, tensor.shape) for name, tensor in first.update.items())
    prints = tuple(_fingerprint(capture.parameters) for capture in (first, last))
    return MODELS[first.model.architecture], same_problem(first), rates, update, prints


def _fingerprint(parameters: Mapping[str, Tensor]) -> int:
    """Return a checksum of parameters."""
    found = 0
    for name, tensor in sorted(parameters.items()):
        found = zlib.crc32(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode(), found)
        numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        found = zlib.crc32(numbers.numpy().data, found)
    return found


def _checked(captures: Sequence[CapturedUpdate]) -> Choice:
    """Return the engine for victims, after its check."""
    first = captures[0]
    names = matched(first)  # before anything is drawn: it holds the sizes of the record to those of its tensors
    if not names:
        raise ConfigError(
            f"{first.id}: its update shares no parameter that the client trains, so there is nothing to match. Are the "
            f"names of model '{first.model.architecture}' those of the update, and are its parameters frozen?"
        )
    refuse_once(first)
    if first.model.input.vocabulary:
        refuse_unread(first)
    drawn = draws(first)
    one_batch = len(local_steps(first)) == 1
    reason = (unfoldable(first) if one_batch else not_together(captures)) or _lacking(first)
    if not reason:
        try:
            two = [first, captures[-1]]
            Fold(first.model, [capture.parameters for capture in two])  # refuses most models at once
            error = _error(_folded if one_batch else _together, two, names)
            if error <= 1.0:
                return Choice(FoldedClients.name if one_batch else ReplayedTogether.name, error, "", drawn)
            reason = f"its update differs from plain torch's (relative error {error:.1g})"
        except Exception as problem:  # noqa: BLE001 - a module may fail in any way when it sees many victims at once
            reason = str(problem) if isinstance(problem, ConfigError) else f"{type(problem).__name__}: {problem}"
    with own_errors(first):
        error = _error(_replayed, [first], names)
    if error > 1.0:
        raise ConfigError(
            f"model '{first.model.architecture}': the replayed update of random examples differs from the one "
            f"that plain torch computes on the same module ({error:.1g} times the tolerance), so an attack would look "
            "for the wrong thing. Does its forward pass keep a state between calls, draw random numbers otherwise than "
            "by torch's dropout, or read anything but its input, its parameters and its buffers?"
        )
    return Choice(ReplayedClients.name, error, reason, drawn)


def open_engine(
    captures: Sequence[CapturedUpdate],
    choice: Choice,
    *,
    device: str,
    precision: torch.dtype,
    measure: Measure = "squared",
) -> Engine:
    """Return the chosen engine, loaded with victims.

    Args:
        captures: of the victims.
        choice: what `choose` returned.
        device: where to compute.
        precision: torch dtype of the computation.
        measure: of the distances. That of the gradient of one batch is "squared" where "weighted" is asked for.
    """
    if measure == "weighted" and len(local_steps(captures[0])) == 1:
        measure = "squared"
    if choice.engine == FoldedClients.name:
        folded = FoldedClients if measure == "squared" else functools.partial(FoldedCosines, measure=measure)
        return folded(captures, device=device, precision=precision)
    replayed = ReplayedTogether if choice.engine == ReplayedTogether.name else ReplayedClients
    return replayed(captures, device=device, precision=precision, measure=measure)


def _lacking(capture: CapturedUpdate) -> str:
    """Return why a capture lacks parameters that the fold needs, or "" if it has all."""
    names = [name for name, _ in build_model(capture.model).named_parameters()]
    missing = [name for name in names if name not in capture.update or name not in capture.parameters]
    return f"the update lacks {missing[0]}" if missing else ""


def _folded(captures: Sequence[CapturedUpdate], precision: torch.dtype) -> Engine:
    return FoldedClients(captures, device="cpu", precision=precision)


def _together(captures: Sequence[CapturedUpdate], precision: torch.dtype) -> Engine:
    return ReplayedTogether(captures, device="cpu", precision=precision)


def _replayed(captures: Sequence[CapturedUpdate], precision: torch.dtype) -> Engine:
    return ReplayedClients(captures, device="cpu", precision=precision)


def _error(build: Build, captures: Sequence[CapturedUpdate], names: Collection[str]) -> float:
    """Return the error of an engine's distances in units of the tolerance, in float64 if the module can."""
    try:
        with own_errors(captures[0]):
            return _error_in(build, captures, names, torch.float64)
    except ConfigError as problem:
        if not any(word in str(problem).lower() for word in _OF_PRECISION):
            raise
    return _error_in(build, captures, names, torch.float32)


def _error_in(
    build: Build, captures: Sequence[CapturedUpdate], names: Collection[str], precision: torch.dtype
) -> float:
    here, there = (
        [planted(capture, seed=seed + 10 * victim, precision=precision) for victim, capture in enumerate(captures)]
        for seed in _SEEDS
    )
    engine = build([one.capture for one in here], precision)
    at_truth = _distances(engine, here)
    for victim, one in enumerate(here):
        engine.replace(victim, parameters_only(one.capture, names))
    elsewhere = _distances(engine, there)
    worst = 0.0
    for victim, truth in enumerate(here):
        wanted, size = squared_distance(truth, there[victim], names)
        worst = max(
            worst,
            _excess(float(at_truth[victim]), 0.0, size, TOLERANCE[precision]),
            _excess(float(elsewhere[victim]), wanted, size, TOLERANCE[precision]),
        )
    return worst


def _distances(engine: Engine, candidates: Sequence[Planted]) -> Tensor:
    """Return the distances of candidates, of which the derivative must exist as well."""
    inputs, targets = (
        torch.stack(parts) for parts in zip(*((one.inputs, one.targets) for one in candidates), strict=True)
    )
    distances = engine.distances(inputs.requires_grad_(), targets)
    torch.autograd.grad(distances.sum(), inputs)
    return distances.detach()


def _excess(found: float, wanted: float, size: float, tolerance: float) -> float:
    """Return the error of a squared distance in units of the tolerance; `size` is the update's squared norm."""
    allowed = tolerance * (wanted + tolerance * size)
    return abs(found - wanted) / max(allowed, sys.float_info.min)
