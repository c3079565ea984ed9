"""The records that are passed from package to package, and their format on disk.

A record is a frozen dataclass. Tensors are keyed by parameter name, never by position. On disk a record is one
safetensors file: its tensors, and everything else as JSON in the file's metadata, with a checksum over both. Nothing is
ever unpickled.

Axis order, everywhere: R restarts, V victims, T steps, N examples, C, H, W; time comes first if it is present.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import pydantic
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError, DataError
from fl_sim.files import atomic_write
from fl_sim.specs import LATER, InputSpec, ModelSpec, Scalar, SpikingSpec

__all__ = [
    "LATER",
    "CapturedUpdate",
    "ClientTraining",
    "InputSpec",
    "ModelSpec",
    "Scalar",
    "SealedBatch",
    "SpikingSpec",
    "TrainedModel",
    "is_record",
    "load_record",
    "record_bytes",
    "save_record",
]


@dataclasses.dataclass(frozen=True)
class CapturedUpdate:
    """What an honest-but-curious server observes of one client in one round, and nothing that it could not know.

    Attributes:
        id: FEDERATION/rRRR-cCCC; the key under which the judges find the sealed truth.
        round: server round, from 1.
        client: partition id of the client.
        model: specification of the model that is trained.
        parameters: {name: tensor} as sent to the client, in the client's dtype.
        update: {name: tensor}, the gradient, or the weights after training minus those before.
        kind: "gradient" or "delta".
        learning_rate, local_steps, batch_size, epochs: as the server set them for the client; None where it did not.
        num_examples: as reported by the client; 0 if it reported none.
        config: the complete config that was sent with the parameters.
        labels: (N,) if the threat model gives them to the server; None otherwise.
        training: how the client computes its steps, as far as the server knows.
        clients: number of clients of whose updates it is the mean, weighted by their examples, where secure aggregation
            shows no more; `num_examples` is then their sum. 1 for a client's own update.
        members: partition ids of these clients, as far as the server knows them; None for a client's own update.
        sampling: "poisson" where each example of a step was drawn by itself, so that `batch_size` is a mean; None for
            batches of this size.
        sizes: number of examples in each local step, if the client told them; 0 for an empty sample.
    """

    id: str
    round: int
    client: int
    model: ModelSpec
    parameters: Mapping[str, Tensor]
    update: Mapping[str, Tensor]
    kind: Literal["gradient", "delta"]
    learning_rate: float | None = None
    local_steps: int | None = None
    batch_size: int | None = None
    num_examples: int = 0
    config: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    labels: Tensor | None = None
    epochs: int | None = None
    training: ClientTraining = dataclasses.field(default_factory=ClientTraining)
    clients: int = 1
    members: tuple[int, ...] | None = dataclasses.field(default=None, metadata=LATER)
    sampling: Literal["poisson"] | None = dataclasses.field(default=None, metadata=LATER)
    sizes: tuple[int, ...] | None = dataclasses.field(default=None, metadata=LATER)


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The aggregated global model after a round.

    Attributes:
        model: specification of the model.
        parameters: {name: tensor}.
        test_accuracy: accuracy in [0, 1] on data that no client holds.
        round: the round after which it was taken; 0 for the initial model.
        seed: root seed of the federation.
    """

    model: ModelSpec
    parameters: Mapping[str, Tensor]
    test_accuracy: float
    round: int
    seed: int


@dataclasses.dataclass(frozen=True)
class SealedBatch:
    """The truth behind a captured update. Written by the client out of band and opened by judges only.

    A batch that a client of one's own sealed may have another form, until `fl_sim.sealed_forms.formed` has converted
    it, which judges do when they open it.

    Attributes:
        capture_id: id of the `CapturedUpdate` that was computed from this batch.
        inputs: (N, C, H, W), or (T, N, C, H, W) for events, floats in the value range of the model's `InputSpec`.
        labels: int64 (N,), from 0.
        defence: name of the defence that the client applied, or "none".
    """

    capture_id: str
    inputs: Tensor
    labels: Tensor
    defence: str = "none"


Record = TypeVar("Record")
_METADATA_KEY = "spikeleak"
_CHECKSUM = "sha256"
_TENSORS_ALLOWED = pydantic.ConfigDict(arbitrary_types_allowed=True)


def record_bytes(record: Any) -> bytes:  # noqa: ANN401 - any dataclass of tensors and JSON values
    """Return the bytes of a record's safetensors file; equal records give equal bytes."""
    given: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"record": type(record).__name__}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value is None and field.metadata == LATER:
            continue
        if isinstance(value, Tensor):
            given[field.name] = value
        elif isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            given |= {f"{field.name}/{key}": item for key, item in value.items()}
        else:
            plain[field.name] = _adapter(type(value)).dump_python(value)  # type: ignore[arg-type]  # types are hashable
    tensors, plain = _apart(given), json.loads(json.dumps(plain))  # as it is read: a key is text
    plain[_CHECKSUM] = _checksum(plain, tensors)
    return safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(plain, sort_keys=True)})


def _checksum(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the plain values and the names, types, shapes and bytes of the tensors."""
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _apart(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU of which no two share memory, which the format refuses: tied weights, say."""
    tensors: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, value in given.items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        tensors[key] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return tensors


def save_record(record: Any, path: Path, *, private: int = 0) -> Path:  # noqa: ANN401
    """Write a record to `path` atomically; see `atomic_write`."""
    return atomic_write(path, record_bytes(record), private=private)


def is_record(path: Path) -> bool:
    """Return whether an existing file says that it is a record, of whatever type; it may still be damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            return _METADATA_KEY in (stream.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def load_record(kind: type[Record], path: Path) -> Record:
    """Read a record of type `kind` that was written by `save_record`.

    Raises:
        DataError: the file is missing, truncated, damaged, or holds something else.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a {kind.__name__}, found no such file.")
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - not a mapping
        plain = json.loads(metadata[_METADATA_KEY])
        if not isinstance(plain, dict) or plain.pop("record") != kind.__name__:
            raise KeyError("record")
        checksum = plain.pop(_CHECKSUM, None)  # versions before 0.2 wrote none
        if checksum not in (None, _checksum({"record": kind.__name__, **plain}, tensors)):
            raise ValueError("its checksum does not fit its content")
        return _rebuild(kind, plain, tensors)
    # JSON that is nested a thousand levels deep raises a RecursionError.
    except (
        safetensors.SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        ConfigError,
    ) as error:
        size = path.stat().st_size
        raise DataError(
            f"{path}: expected a {kind.__name__} as written by spikeleak, found {size} bytes that are not one "
            f"({type(error).__name__}: {error})."
        ) from error


def _rebuild(kind: type[Record], plain: dict[str, Any], tensors: dict[str, Tensor]) -> Record:
    """Return the record with these plain values and tensors; each field is checked against its annotation."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        prefix = f"{name}/"
        grouped = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        if name in tensors:
            values[name] = tensors[name]
        elif grouped:
            values[name] = grouped
        elif name in plain:
            values[name] = _adapter(hint).validate_python(plain[name])
    return kind(**values)


@functools.cache
def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:  # noqa: ANN401 - any annotation
    """Return what checks values of a type; making it takes as long as reading several records."""
    return pydantic.TypeAdapter(hint, config=None if _has_own_config(hint) else _TENSORS_ALLOWED)


def _has_own_config(hint: Any) -> bool:  # noqa: ANN401 - any annotation
    """Return whether pydantic refuses a config beside this type."""
    return dataclasses.is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, pydantic.BaseModel))
