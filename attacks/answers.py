"""The answers of attacks, checked and timed where they are taken: what a plugin says of itself is not believed.

The checks are those of `attacks.testing`, on the victims of the experiment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from attacks import ATTACKS, MODEL_INVERSIONS, build_attack
from attacks.contracts import GradientInversion, Inversion, ModelInversion, Progress, Reconstruction, StopReason
from attacks.posterior import model_id
from fl_sim.errors import ConfigError, SpikeleakError, lack_of_memory, own_line
from fl_sim.observed import batch_size, same_problem
from fl_sim.plugins import OURS, Table
from fl_sim.records import CapturedUpdate, TrainedModel
from fl_sim.specs import InputSpec, Scalar, Settings

_ROUNDING = 1e-5
"""By how much of the value range an answer may leave it."""


class AttackError(SpikeleakError):
    """An attack raised an error, or its answer is none. The message names the attack, its package and the capture."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of an attack.

    Attributes:
        name: of the attack in the table.
        settings: all its settings, as plain values.
        seed: as the attack gets it.
        device: where to compute.
    """

    name: str
    settings: Mapping[str, Scalar]
    seed: int
    device: str = "cpu"

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Scalar], *, seed: int, device: str = "cpu") -> Self:
        """Return the call of an attack of either table with these settings, and the defaults of the others."""
        kind: type[Settings] = (ATTACKS[name] if name in ATTACKS else MODEL_INVERSIONS[name]).settings
        return cls(name, kind.model_validate(dict(settings)).model_dump(), seed, device)

    @property
    def described(self) -> str:
        """Return the name of the attack, with the package that it comes from if that is not this project."""
        table: Table[Any] = ATTACKS if self.name in ATTACKS else MODEL_INVERSIONS
        origin = table.origin(self.name)
        return f"attack '{self.name}'{'' if origin == OURS else f' ({origin})'}"


def answers_of(
    attack: GradientInversion, captures: Sequence[CapturedUpdate], call: Call, progress: Progress | None = None
) -> list[Reconstruction]:
    """Return the answers of an attack to captured updates, checked, with the wall time of the call as their seconds.

    Args:
        attack: built with the settings of the call.
        captures: captured updates of one model spec.
        call: what the attack is told.
        progress: called whenever a victim is finished.

    Raises:
        AttackError: the attack raised an error, or an answer is none.
        MemoryError, RuntimeError, OSError: memory does not suffice.
    """
    started = time.perf_counter()
    with _named(call, _several(captures)):
        answers = attack.reconstruct(captures, seed=call.seed, device=call.device, progress=progress)
    seconds = (time.perf_counter() - started) / max(1, len(captures))
    return [dataclasses.replace(one, seconds=seconds) for one in checked_answers(answers, captures, call)]


def checked_answers(answers: object, captures: Sequence[CapturedUpdate], call: Call) -> list[Reconstruction]:
    """Return the answers of an attack, if there is one for each capture and it is such as `attacks.testing` asks for.

    Raises:
        AttackError: there are more or fewer; one is of another capture, attack, seed or settings; or its inputs, labels
            or counts cannot be those of its capture.
    """
    if not isinstance(answers, list | tuple) or len(answers) != len(captures):
        found = f"{len(answers)} answers" if isinstance(answers, list | tuple) else f"a {type(answers).__name__}"
        raise AttackError(f"{call.described} on {_several(captures)}: expected {len(captures)} answers, got {found}")
    for answer, capture in zip(answers, captures, strict=True):
        problem = _problem(answer, capture, call)
        if problem:
            raise AttackError(f"{call.described} on {capture.id}: {problem}")
    return list(answers)


def refuse_pairs(pairs: Iterable[tuple[str, Mapping[str, Scalar], CapturedUpdate]]) -> None:
    """Let each attack start on a victim, without a step, so that it says if it does not take such a victim.

    Attacks that match no updates or need auxiliary data are passed over, and so is whatever else goes wrong: that is
    found when the attack is tried, and costs its cell only.

    Args:
        pairs: name and settings of an attack, and a captured update or a stand-in for one.

    Raises:
        ConfigError: that of the attack.
    """
    tried: set[Hashable] = set()
    for name, settings, capture in pairs:
        entry = ATTACKS[name]
        start = entry.settings(**settings).untouched().model_dump()
        key = (name, tuple(sorted(start.items())), same_problem(capture))
        if not entry.matching or entry.needs_auxiliary or key in tried:
            continue
        tried.add(key)
        try:
            build_attack(name, start).reconstruct([capture], seed=0)
        except ConfigError:
            raise
        except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001, S112 - a plugin may raise anything
            continue


def inversion_of(
    attack: ModelInversion, model: TrainedModel, classes: Sequence[int], call: Call, progress: Progress | None = None
) -> Inversion:
    """Return the answer of a model inversion, checked, with the wall time of the call as its seconds.

    Args:
        attack: built with the settings of the call.
        model: the model under attack.
        classes: K labels.
        call: what the attack is told.
        progress: called whenever classes are finished.

    Raises:
        AttackError: the attack raised an error, or the answer is none.
        MemoryError, RuntimeError, OSError: memory does not suffice.
    """
    started, what = time.perf_counter(), f"the model '{model.model.architecture}' of round {model.round}"
    with _named(call, what):
        found: object = attack.invert(model, classes, seed=call.seed, device=call.device, progress=progress)
    problem = _problem_of_inversion(found, model, classes, call)
    if problem or not isinstance(found, Inversion):
        raise AttackError(f"{call.described} on {what}: {problem}")
    return dataclasses.replace(found, seconds=time.perf_counter() - started)


@contextlib.contextmanager
def _named(call: Call, what: str) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that says which attack failed on what, but for a lack of memory."""
    try:
        yield
    except (Exception, SystemExit, GeneratorExit) as error:
        if lack_of_memory(error):
            raise
        told = f"{call.described} failed on {what}: {type(error).__name__}: {error}{own_line(error)}"
        raise AttackError(told) from error


def _problem(answer: object, capture: CapturedUpdate, call: Call) -> str:
    """Return what is wrong with an answer, or ""."""
    if not isinstance(answer, Reconstruction):
        return f"expected a Reconstruction, got a {type(answer).__name__}"
    told = {
        "capture_id": (answer.capture_id, capture.id),
        "attack": (answer.attack, call.name),
        "settings": (dict(answer.settings), dict(call.settings)),
        "seed": (answer.seed, call.seed),
    }
    for field, (found, expected) in told.items():
        if found != expected:
            return f"the answer's {field} is {found!r}, expected {expected!r}"
    return _problem_of_counts(answer) or _problem_of_tensors(answer, capture)


def _problem_of_inversion(found: Any, model: TrainedModel, classes: Sequence[int], call: Call) -> str:  # noqa: ANN401
    """Return what is wrong with the answer of a model inversion, or ""."""
    if not isinstance(found, Inversion):
        return f"expected an Inversion, got a {type(found).__name__}"
    told = {
        "model_id": (found.model_id, model_id(model)),
        "attack": (found.attack, call.name),
        "settings": (dict(found.settings), dict(call.settings)),
        "seed": (found.seed, call.seed),
        "classes": (found.classes.tolist(), list(classes)),
    }
    for field, (value, expected) in told.items():
        if value != expected:
            return f"the answer's {field} is {value!r}, expected {expected!r}"
    spec, count = model.model, len(classes)
    steps = (spec.input.timesteps or spec.spiking.timesteps,) if spec.spiking is not None else ()
    shape = (*steps, count, *spec.input.frame)
    if tuple(found.inputs.shape) != shape:
        return f"the answer's inputs have shape {tuple(found.inputs.shape)}, expected {shape}"
    for field in ("confidence", "iterations", "stop_reasons"):
        if len(getattr(found, field)) != count:
            return f"the answer has {len(getattr(found, field))} {field} for {count} classes"
    if not all(isinstance(reason, StopReason) for reason in found.stop_reasons):
        return f"the answer's stop_reasons are {found.stop_reasons!r}, expected StopReasons"
    whole = bool(torch.isfinite(found.inputs).all()) and bool(torch.isfinite(found.confidence).all())
    return "" if whole else "the answer's inputs or confidence hold NaN or infinity"


def _problem_of_counts(answer: Any) -> str:  # noqa: ANN401 - its fields may be anything
    if not isinstance(answer.stop_reason, StopReason):
        return f"the answer's stop_reason is {answer.stop_reason!r}, expected a StopReason"
    least = {"iterations": 0, "gradient_evaluations": 0, "restarts": 1}
    for field, smallest in least.items():
        count = getattr(answer, field)
        if isinstance(count, bool) or not isinstance(count, int) or count < smallest:
            return f"the answer's {field} is {count!r}, expected a whole number of at least {smallest}"
    if not isinstance(answer.matching_loss, int | float):
        return f"the answer's matching_loss is a {type(answer.matching_loss).__name__}, expected a number"
    if not isinstance(answer.loss_history, Tensor) or answer.loss_history.dim() != 1:
        return "the answer's loss_history is not a tensor of one axis"
    return ""


def _problem_of_tensors(answer: Any, capture: CapturedUpdate) -> str:  # noqa: ANN401 - as above
    spec, count = capture.model.input, batch_size(capture)
    steps = (spec.timesteps,) if spec.timesteps else ()
    shape = (*steps, count, *spec.frame)
    for field, expected in {"inputs": shape, "last_inputs": shape, "labels": (count,)}.items():
        tensor = getattr(answer, field)
        if not isinstance(tensor, Tensor):
            return f"the answer's {field} are a {type(tensor).__name__}, expected a tensor"
        if tuple(tensor.shape) != expected:
            return f"the answer's {field} have shape {tuple(tensor.shape)}, expected {expected}"
    if not answer.inputs.is_floating_point():
        return f"the answer's inputs are of {answer.inputs.dtype}, expected floats"
    whole = not answer.labels.is_complex() and torch.equal(answer.labels, answer.labels.round())
    if not whole and (spec.classes > 1 or not answer.labels.is_floating_point()):  # one output may be any number
        return f"the answer's labels are of {answer.labels.dtype}, expected whole numbers"
    return "" if answer.stop_reason is StopReason.DIVERGED else _problem_of_values(answer.inputs, spec)


def _problem_of_values(inputs: Tensor, spec: InputSpec) -> str:
    if not bool(torch.isfinite(inputs).all()):
        return "the answer's inputs hold NaN or infinity, and it did not end as diverged"
    least, most, room = float(inputs.min()), float(inputs.max()), _ROUNDING * (spec.high - spec.low)
    if not spec.timesteps and not spec.low - room <= least <= most <= spec.high + room:
        return f"the answer's inputs lie in [{least:g}, {most:g}], expected [{spec.low:g}, {spec.high:g}]"
    return ""


def _several(captures: Sequence[CapturedUpdate]) -> str:
    """Return the captures of a call, by the first of them."""
    more = f" and {len(captures) - 1} more" if len(captures) > 1 else ""
    return f"{captures[0].id if captures else 'no capture'}{more}"
