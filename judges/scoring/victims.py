"""Which examples a run attacked, in a form that is the same on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.specs import InputSpec

_LEVELS = 255


@dataclass(frozen=True)
class Victims:
    """The victims of federations that differ by their repetition only.

    Attributes:
        digest: SHA-256 over how the federations are run and over the sealed examples: their pictures in 8 bits, their
            labels, and which client sealed them in which round. The data sets hold pictures of 8 bits (events are 0 or
            1), so rounding back to these undoes what floating point may do otherwise on another machine.
        updates, examples: numbers of captured updates, and of sealed examples behind them.
        sent: l2 norm of the parameters that the server sent first in each federation. It tells a model that was
            initialised otherwise; it is no part of the digest, for its last digits depend on the machine, as do the
            bytes of captures.
    """

    digest: str
    updates: int
    examples: int
    sent: tuple[float, ...]


def victims_of(folder: Path, federations: Sequence[str], settings: Mapping[str, Any]) -> Victims:
    """Return the victims of a run.

    Args:
        folder: of the run, with captures/ and sealed/.
        federations: ids of the repetitions, in their order.
        settings: how the federations are run, in values that JSON can hold.

    Raises:
        DataError: a capture or a sealed batch is missing or corrupt.
    """
    captures, sealed = CaptureStore(folder / "captures"), SealedStore(folder / "sealed")
    lines: list[list[Any]] = []
    sent, examples = [], 0
    for repeat, name in enumerate(federations):
        for place, key in enumerate(captures.listed(name)):
            capture, truth = captures.load(key.id), sealed.load(key.id)
            if not place:
                sent.append(_norm(capture.parameters))
            labels = truth.labels.flatten().tolist()
            lines.append([repeat, key.round, key.client, labels, _hash(truth.inputs, capture.model.input)])
            examples += len(truth.labels)
    told = json.dumps({"federation": dict(settings), "victims": lines}, sort_keys=True)
    return Victims(hashlib.sha256(told.encode()).hexdigest(), len(lines), examples, tuple(sent))


def _hash(inputs: Tensor, spec: InputSpec) -> str:
    """Return the SHA-256 of inputs in 8 bits, and of their shape."""
    levels = ((inputs.double() - spec.low) / (spec.high - spec.low) * _LEVELS).round().clamp(0, _LEVELS).byte()
    shape = "x".join(str(side) for side in levels.shape)
    return hashlib.sha256(shape.encode() + b"\n" + levels.cpu().contiguous().numpy().tobytes()).hexdigest()


def _norm(parameters: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(one.double().square().sum()) for one in parameters.values()))
