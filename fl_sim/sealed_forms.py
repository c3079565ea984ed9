"""The one form of a sealed batch, and the other forms in which clients hold what they trained on.

The form of the records: float inputs (N, C, H, W), or (T, N, C, H, W) for events, in the value range of the
`InputSpec`, and int64 labels (N,) from 0. Everything here is a pure function of tensors.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from fl_sim.errors import DataError
from fl_sim.records import SealedBatch
from fl_sim.specs import InputSpec
from fl_sim.tokens import one_hot

IMAGES = ("NCHW", "NHWC", "NHW", "CHW", "HWC", "HW", "NF", "F")
EVENTS = ("TNCHW", "NTCHW", "TNHWC", "NTHWC", "TNHW", "NTHW", "TCHW", "THWC", "THW")
"""The orders of axes in which inputs are read; the first that fits the spec is taken. An axis may be missing where its
size is 1. F is H and W in one, of a single channel."""

_EIGHT_BIT = 255
_BEYOND = 10
"""Whole numbers up to 255, the largest of them beyond so many times the range of the spec, are 8-bit pictures."""


class Formed(NamedTuple):
    """A sealed batch in the form of the records, and what was converted in words, one part for each conversion."""

    batch: SealedBatch
    converted: tuple[str, ...]


class _Taken(NamedTuple):
    """A tensor, and how it was taken, in words; "" if it was as it should be."""

    tensor: Tensor
    words: str = ""


def formed(batch: SealedBatch, spec: InputSpec | None = None) -> Formed:
    """Return a sealed batch in the form of the records.

    Labels may be (N,), (N, 1) or one-hot (N, classes), of any type, with whole values. Targets that are not whole
    numbers, as of a regression, stay as they are, and those of a single output may be any whole number. The order
    of the axes of the inputs is decided with a spec only, see `IMAGES` and `EVENTS`, and so is their value range:

    * uint8 images are x / 255 mapped to [low, high], unless low is at least 0 and they lie in that range already;
    * other images of whole numbers from 0 to 255 are too, if their largest is beyond ten times the range of the spec,
      which no other reading explains;
    * other integers are floats of the same value, as counts of events always are.

    All other values stay as they are, also those outside [low, high]. Of texts, inputs are the tokens (N, L) or (L, N),
    whole numbers of any type, or their one-hot form.

    Args:
        batch: inputs and labels on any device, of any type, with or without a gradient.
        spec: what the model takes; None to convert only what shapes and types alone decide.

    Raises:
        DataError: labels or inputs can mean nothing: there are none, one is not finite, a label is outside the classes,
            their numbers differ, or no reading fits the shape.
    """
    try:
        inputs, labels = _tensor(batch.inputs, "inputs"), _tensor(batch.labels, "labels")
        targets = _labels(labels, spec)
        if spec is not None and spec.vocabulary:
            arranged = valued = _texts(inputs, len(targets.tensor), spec)
        else:
            arranged = _arranged(inputs, len(targets.tensor), spec)
            valued = _valued(arranged.tensor, spec)
    except DataError as error:
        raise DataError(f"{batch.capture_id}: {error}.") from error
    whole = dataclasses.replace(batch, inputs=valued.tensor.contiguous(), labels=targets.tensor.contiguous())
    converted = dict.fromkeys(taken.words for taken in (targets, arranged, valued) if taken.words)
    return Formed(whole, tuple(converted))


def _tensor(values: object, name: str) -> Tensor:
    """Return finite real numbers on the CPU without their gradient."""
    try:
        tensor = torch.as_tensor(values).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"expected a tensor of sealed {name}, got a {type(values).__name__}") from error
    if tensor.is_complex() or tensor.numel() == 0:
        raise DataError(f"expected real numbers as sealed {name}, got {tensor.dtype} of shape {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        return tensor if tensor.dtype in (torch.uint8, torch.bool, torch.int32) else tensor.to(torch.int64)
    if not tensor.isfinite().all():
        raise DataError(f"its sealed {name} hold NaN or infinity")
    return tensor


def _labels(labels: Tensor, spec: InputSpec | None) -> _Taken:
    """Return labels as int64 (N,), their range checked; targets that are not whole numbers as they are."""
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        return _Taken(labels.reshape(1) if labels.dim() == 0 else labels)
    numbers = labels.to(torch.int64)
    if labels.dim() > 2:
        raise DataError(f"expected sealed labels (N,), (N, 1) or one-hot (N, classes), got shape {tuple(labels.shape)}")
    if labels.dim() == 2 and labels.shape[1] != 1:
        numbers = _classes_of(numbers, spec)
    numbers = numbers.reshape(-1)
    if spec is None or spec.classes > 1:
        _check_range(numbers, spec)
    plain = labels.dtype == torch.int64 and labels.dim() == 1
    return _Taken(numbers, "" if plain else f"labels {_told(labels)} as {_told(numbers)}")


def _classes_of(numbers: Tensor, spec: InputSpec | None) -> Tensor:
    """Return the classes (N,) of one-hot labels (N, classes)."""
    is_one_hot = bool(((numbers == 0) | (numbers == 1)).all() and (numbers.sum(1) == 1).all())
    if not is_one_hot or (spec is not None and numbers.shape[1] != spec.classes):
        raise DataError(
            f"expected sealed labels (N,), (N, 1) or one-hot (N, {spec.classes if spec else 'classes'}), got shape "
            f"{tuple(numbers.shape)}{'' if is_one_hot else ', which is not one-hot'}"
        )
    return numbers.argmax(1)


def _check_range(numbers: Tensor, spec: InputSpec | None) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    if spec is None and low < 0:
        raise DataError(f"expected sealed labels from 0, got {low}")
    if spec is not None and not 0 <= low <= high < spec.classes:
        from_one = low >= 1 and high == spec.classes
        raise DataError(
            f"expected sealed labels from 0 to {spec.classes - 1} for {spec.classes} classes, got "
            f"{low if low < 0 else high}{'; they seem to be counted from 1, so give labels from 0' if from_one else ''}"
        )


def _arranged(inputs: Tensor, count: int, spec: InputSpec | None) -> _Taken:
    """Return the inputs of `count` examples with the axes of the records, if a spec says which those are."""
    if spec is None:
        alone = count == 1 and inputs.dim() < 5
        if not alone and count not in inputs.shape[:2]:
            raise DataError(f"expected as many sealed labels as inputs, got {count} for inputs {tuple(inputs.shape)}")
        return _Taken(inputs)
    for axes in EVENTS if spec.timesteps else IMAGES:
        found = _read(inputs, axes, count, spec)
        if found is not None:
            told = f"inputs {tuple(inputs.shape)}, read as ({', '.join(axes)}), as {tuple(found.shape)}"
            return _Taken(found, "" if found.shape == inputs.shape else told)
    raise DataError(_misfit(inputs, count, spec))


def _texts(inputs: Tensor, count: int, spec: InputSpec) -> _Taken:
    """Return texts in their one-hot form (N, 1, L, V)."""
    length, size = spec.height, spec.vocabulary
    shape = tuple(inputs.shape)
    if shape in ((count, 1, length, size), (count, length, size)):
        whole = inputs.reshape(count, 1, length, size).float()
        if not (((whole == 0) | (whole == 1)).all() and (whole.sum(-1) == 1).all()):
            raise DataError(
                f"expected sealed texts {shape} to be one-hot, found other values than one 1 for each token"
            )
        is_kept = shape == tuple(whole.shape) and inputs.dtype == torch.float32
        return _Taken(whole, "" if is_kept else f"inputs {_told(inputs)} as one-hot {tuple(whole.shape)}")
    flat = shape == (length,) and count == 1
    given = inputs.reshape(count, length) if flat or shape == (count, 1, length) else inputs
    given = given.T if shape == (length, count) != (count, length) else given
    if tuple(given.shape) != (count, length):
        raise DataError(
            f"expected sealed texts as tokens ({count}, {length}), or one-hot ({count}, 1, {length}, {size}), beside "
            f"labels ({count},), got {shape}"
        )
    tokens = given.to(torch.int64)
    if given.is_floating_point() and not torch.equal(given, given.round()):
        raise DataError("expected whole numbers as the tokens of sealed texts, found fractions")
    low, high = int(tokens.min()), int(tokens.max())
    if not 0 <= low <= high < size:
        raise DataError(
            f"expected tokens from 0 to {size - 1} for a vocabulary of {size}, got {low if low < 0 else high}"
        )
    found = one_hot(tokens, spec)
    return _Taken(found, f"tokens {_told(inputs)} as one-hot {tuple(found.shape)}")


def _read(inputs: Tensor, axes: str, count: int, spec: InputSpec) -> Tensor | None:
    """Return inputs that have these axes with the axes of the records; None if the sizes do not fit."""
    sizes = {"T": spec.timesteps, "N": count, "C": spec.channels, "H": spec.height, "W": spec.width}
    order, spread = "TNCHW" if spec.timesteps else "NCHW", axes.replace("F", "HW")
    missing = "".join(axis for axis in order if axis not in spread)
    given = {**sizes, "F": spec.height * spec.width}
    if tuple(inputs.shape) != tuple(given[axis] for axis in axes) or any(sizes[axis] != 1 for axis in missing):
        return None
    full = missing + spread
    return inputs.reshape([sizes[axis] for axis in full]).permute([full.index(axis) for axis in order])


def _misfit(inputs: Tensor, count: int, spec: InputSpec) -> str:
    """Return why inputs fit no reading: they are of another number of examples, or of another shape."""
    shape, frame = tuple(inputs.shape), ", ".join(map(str, spec.frame))
    for axes in EVENTS if spec.timesteps else IMAGES:
        examples = shape[axes.index("N")] if len(axes) == len(shape) and "N" in axes else count
        if examples != count and _read(inputs, axes, examples, spec) is not None:
            return f"expected as many sealed labels as inputs, got {count} for {examples} inputs"
    wanted = f"({spec.timesteps}, {count}, {frame})" if spec.timesteps else f"({count}, {frame})"
    return f"expected sealed inputs {wanted} beside labels ({count},), got {shape}"


def _valued(inputs: Tensor, spec: InputSpec | None) -> _Taken:
    """Return inputs as floats; with a spec, 8-bit pictures in its value range."""
    if spec is not None and _is_eight_bit(inputs, spec):
        unit = (inputs if inputs.dtype == torch.float64 else inputs.float()) / _EIGHT_BIT
        told = f"inputs {_told(inputs)} from 0 to 255 as x / 255, mapped to [{spec.low:g}, {spec.high:g}]"
        return _Taken(spec.low + (spec.high - spec.low) * unit, told)
    integers = not inputs.is_floating_point() and inputs.dtype != torch.bool
    if inputs.dtype in (torch.float32, torch.float64) or (spec is None and integers):
        return _Taken(inputs)
    return _Taken(inputs.float(), f"inputs {_told(inputs)} as float32")


def _is_eight_bit(inputs: Tensor, spec: InputSpec) -> bool:
    """Return whether these can only be 8-bit pictures, and not what the model takes; see `formed`."""
    if spec.timesteps or inputs.dtype == torch.bool:
        return False
    least, most = float(inputs.min()), float(inputs.max())
    if inputs.dtype == torch.uint8:
        return spec.low < 0 or most > spec.high
    is_whole = not inputs.is_floating_point() or torch.equal(inputs, inputs.round())
    return is_whole and least >= 0 and _BEYOND * (spec.high - spec.low) < most <= _EIGHT_BIT


def _told(tensor: Tensor) -> str:
    """Return "(4, 1) of int32"."""
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
