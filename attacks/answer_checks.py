"""What is wrong with an answer of an attack, which may be a plugin's: the checks behind `attacks.answers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.contracts import Inversion, Reconstruction, StopReason
from attacks.posterior import model_id
from fl_sim.observed import batch_size
from fl_sim.records import CapturedUpdate, TrainedModel
from fl_sim.specs import InputSpec

_ROUNDING = 1e-5
"""By how much of the value range an answer may leave it."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LARGEST = 2**63 - 1


def problem_of(answer: object, capture: CapturedUpdate, told: Mapping[str, object]) -> str:
    """Return what is wrong with an answer, or "".

    Its values may be anything, and what is asked of them may raise anything.

    Args:
        answer: of a gradient inversion.
        capture: the captured update.
        told: {field: value} that the answer must repeat.
    """
    if not isinstance(answer, Reconstruction):
        return f"expected a Reconstruction, got a {type(answer).__name__}"
    return (
        _problem_of_told(answer, {"capture_id": capture.id, **told})
        or _problem_of_counts(answer)
        or _problem_of_tensors(answer, capture)
    )


def problem_of_inversion(
    found: Any,  # noqa: ANN401 - a plugin's
    model: TrainedModel,
    classes: Sequence[int],
    told: Mapping[str, object],
) -> str:
    """Return what is wrong with the answer of a model inversion, or ""; as `problem_of`."""
    if not isinstance(found, Inversion):
        return f"expected an Inversion, got a {type(found).__name__}"
    problem = _problem_of_told(found, {"model_id": model_id(model), **told})
    if problem:
        return problem
    if found.classes.tolist() != list(classes):
        return f"the answer's classes is {found.classes.tolist()}, expected {list(classes)}"
    spec, count = model.model, len(classes)
    steps = (spec.input.timesteps or spec.spiking.timesteps,) if spec.spiking is not None else ()
    shape = (*steps, count, *spec.input.frame)
    drawn = {} if found.probabilities is None else {"probabilities": shape}
    for field, expected in {"inputs": shape, **drawn, "confidence": (count,), "iterations": (count,)}.items():
        problem = _problem_of_one(field, getattr(found, field), expected)
        if problem:
            return problem
    problem = _problem_of_snapshots(found, spec.input.frame, (count,))
    if problem:
        return problem
    if not found.inputs.is_floating_point():
        return f"the answer's inputs are of {found.inputs.dtype}, expected floats"
    if not isinstance(found.stop_reasons, tuple) or len(found.stop_reasons) != count:
        return f"the answer has {len(found.stop_reasons)} stop_reasons for {count} classes, expected a tuple of them"
    if not all(isinstance(reason, StopReason) for reason in found.stop_reasons):
        return f"the answer's stop_reasons are {found.stop_reasons!r}, expected StopReasons"
    whole = all(bool(torch.isfinite(getattr(found, field)).all()) for field in ("inputs", *drawn, "confidence"))
    return "" if whole else f"the answer's {' or '.join(('inputs', *drawn, 'confidence'))} hold NaN or infinity"


def _problem_of_told(answer: object, told: Mapping[str, object]) -> str:
    for field, expected in told.items():
        found = getattr(answer, field)
        if (dict(found) if isinstance(expected, dict) else found) != expected:
            return f"the answer's {field} is {found!r}, expected {expected!r}"
    return ""


def _problem_of_counts(answer: Any) -> str:  # noqa: ANN401 - its fields may be anything
    if not isinstance(answer.stop_reason, StopReason):
        return f"the answer's stop_reason is {answer.stop_reason!r}, expected a StopReason"
    least = {"iterations": 0, "gradient_evaluations": 0, "restarts": 1}
    for field, smallest in least.items():
        count = getattr(answer, field)
        if isinstance(count, bool) or not isinstance(count, int) or not smallest <= count <= _LARGEST:
            return f"the answer's {field} is {count!r}, expected a whole number of at least {smallest}"
    if not isinstance(answer.matching_loss, int | float):
        return f"the answer's matching_loss is a {type(answer.matching_loss).__name__}, expected a number"
    if not isinstance(answer.engine, str):
        return f"the answer's engine is a {type(answer.engine).__name__}, expected a text"
    refused = answer.refused or {}
    if not isinstance(refused, Mapping) or not all(isinstance(text, str) for pair in refused.items() for text in pair):
        return f"the answer's refused is {refused!r}, expected a text for each name of an attack"
    answer.engine.encode()  # which raises for what no file can hold, as the next line does
    float(answer.matching_loss)
    length = len(answer.loss_history) if isinstance(answer.loss_history, Tensor) else 0
    return _problem_of_one("loss_history", answer.loss_history, (length,))


def _problem_of_one(field: str, tensor: object, shape: tuple[int, ...]) -> str:
    """Return why a tensor cannot be stored and compared, or ""."""
    if not isinstance(tensor, Tensor):
        return f"the answer's {field} are a {type(tensor).__name__}, expected a tensor"
    if tuple(tensor.shape) != shape:
        return f"the answer's {field} have shape {tuple(tensor.shape)}, expected {shape}"
    if tensor.layout is not torch.strided or tensor.is_meta:
        return f"the answer's {field} are a tensor of layout {tensor.layout} on {tensor.device}, expected a plain one"
    if tensor.dtype not in (*_FLOATS, *_WHOLE):
        return f"the answer's {field} are of {tensor.dtype}, expected floats or whole numbers"
    return ""


def _problem_of_tensors(answer: Any, capture: CapturedUpdate) -> str:  # noqa: ANN401 - as above
    spec, count = capture.model.input, batch_size(capture)
    steps = (spec.timesteps,) if spec.timesteps else ()
    shape = (*steps, count, *spec.frame)
    for field, expected in {"inputs": shape, "last_inputs": shape, "labels": (count,)}.items():
        problem = _problem_of_one(field, getattr(answer, field), expected)
        if problem:
            return problem
    problem = _problem_of_snapshots(answer, shape)
    if problem:
        return problem
    if not answer.inputs.is_floating_point():
        return f"the answer's inputs are of {answer.inputs.dtype}, expected floats"
    if spec.classes > 1 and not torch.equal(answer.labels, answer.labels.round()):  # one output may be any number
        return f"the answer's labels are of {answer.labels.dtype}, expected whole numbers"
    if spec.classes > 1 and not bool(((answer.labels >= -1) & (answer.labels < spec.classes)).all()):
        return f"the answer's labels are {answer.labels.tolist()}, expected -1 for none, or 0 to {spec.classes - 1}"
    return "" if answer.stop_reason is StopReason.DIVERGED else _problem_of_values(answer.inputs, spec)


def _problem_of_snapshots(
    answer: Any,  # noqa: ANN401 - as above
    shape: tuple[int, ...],
    each: tuple[int, ...] = (),
) -> str:
    """Return what is wrong with the pictures of searches, or "" if they are right or there are none.

    Args:
        answer: with snapshots (*each, S, *shape) and snapshot_steps (*each, S).
        shape: of a picture.
        each: (K,) of K searches of an answer, () of one.
    """
    steps = answer.snapshot_steps
    if answer.snapshots is None and steps is None:
        return ""
    taken = (*each, steps.shape[-1] if isinstance(steps, Tensor) and steps.dim() else 0)
    return _problem_of_one("snapshot_steps", steps, taken) or _problem_of_one(
        "snapshots", answer.snapshots, (*taken, *shape)
    )


def _problem_of_values(inputs: Tensor, spec: InputSpec) -> str:
    if not bool(torch.isfinite(inputs).all()):
        return "the answer's inputs hold NaN or infinity, and it did not end as diverged"
    least, most, room = float(inputs.min()), float(inputs.max()), _ROUNDING * (spec.high - spec.low)
    if not spec.timesteps and not spec.low - room <= least <= most <= spec.high + room:
        return f"the answer's inputs lie in [{least:g}, {most:g}], expected [{spec.low:g}, {spec.high:g}]"
    return ""
