"""What messages say: their config, round, partition and arrays. Nothing in a reply is trusted."""

from __future__ import annotations

import zipfile

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ConfigRecord, Message

from fl_sim.errors import DataError
from fl_sim.specs import Scalar

NDArray = npt.NDArray[np.generic]

LABELS = "labels-of-examples"
"""Key under which clients report the labels of their examples, in the order of use."""

SIZES = "sizes-of-batches"
"""Key under which clients report how many examples each of their local steps had."""

SECURE_AGGREGATION = "secaggplus_configs"
"""Name of the ConfigRecord in every message of SecAgg and SecAgg+."""

_LONGEST_REASON = 500
_LARGEST = 1.8e19  # its square just fits into float32; strategies and clients compute squares
_ROUND_KEYS = ("server-round", "current-round", "global-round", "round")
_PARTITION_RECORDS = ("client", "fitres.metrics")


class ReplyError(DataError):
    """A reply is an error, or its content does not fit what was sent. The message states the problem."""


def brief_reason(reply: Message) -> str:
    """Return the last line of an error reply's reason: the exception itself, since Ray sends whole tracebacks."""
    lines = [line for line in (reply.error.reason or "").splitlines() if line.strip()]
    return lines[-1].strip()[:_LONGEST_REASON] if lines else f"error code {reply.error.code}"


def plain_key(key: str) -> str:
    """Return a key in lower case with hyphens: "server-round" of "Server_Round"."""
    return key.strip().lower().replace("_", "-").replace(" ", "-")


def sent_config(message: Message) -> dict[str, Scalar]:
    """Return the plain values of a message's ConfigRecords; of two values with the same key, the first."""
    found: dict[str, Scalar] = {}
    for name, record in message.content.config_records.items():
        if name != SECURE_AGGREGATION:
            found = {**_scalars(record), **found}
    return found


def told_round(message: Message) -> int | None:
    """Return the round that a train message states: as Flower's strategies or workflows do, else as apps spell it."""
    config = sent_config(message) if message.has_content() else {}
    group = message.metadata.group_id
    if "server-round" not in config and group.isascii() and group.isdecimal():
        return int(group)
    plain = {plain_key(key): value for key, value in reversed(list(config.items()))}
    rounds = (plain.get(key) for key in _ROUND_KEYS)
    return next((value for value in rounds if _is_whole(value) and isinstance(value, int) and value >= 0), None)


def told_partition(reply: Message) -> int | None:
    """Return the partition id that a client reports; None if it reports none.

    It is "partition-id" in the ConfigRecord "client", or in the metrics that a `NumPyClient` returns.
    """
    for name in _PARTITION_RECORDS if reply.has_content() else ():
        partition = reply.content.config_records.get(name, ConfigRecord()).get("partition-id")
        if _is_whole(partition) and isinstance(partition, int) and partition >= 0:
            return partition
    return None


def decode(name: str, array: Array) -> NDArray:
    """Return the values of an array; nothing is unpickled. Those of bfloat16 become float32, which holds them exactly.

    Raises:
        ReplyError: the array does not hold finite real numbers, or holds numbers whose squares are not finite.
    """
    try:
        values = array.numpy()
    except (ValueError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
        raise ReplyError(f"{name} is not an array ({type(error).__name__}: {error})") from error
    if isinstance(values, np.ndarray) and array.dtype == "bfloat16" and values.dtype.kind == "V":
        values = _from_bfloat16(name, values)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc":
        raise ReplyError(f"{name} is not an array of numbers")
    if np.iscomplexobj(values) or not np.isfinite(values).all():
        raise ReplyError(f"{name} has values that are not finite real numbers")
    if max(float(values.max(initial=0)), -float(values.min(initial=0))) > _LARGEST:
        raise ReplyError(f"{name} has values above {_LARGEST:g}, whose squares are not finite")
    return values


def _from_bfloat16(name: str, values: NDArray) -> NDArray:
    """Return values that NumPy reads as two bytes each, since it has no bfloat16: the upper half of a float32."""
    if values.dtype.itemsize != np.dtype(np.uint16).itemsize:
        raise ReplyError(f"{name} is not an array of bfloat16")
    return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _scalars(config: ConfigRecord) -> dict[str, Scalar]:
    """Return the plain values of a ConfigRecord, without lists and bytes, which a capture does not store."""
    return {key: value for key, value in config.items() if isinstance(value, str | int | float | bool)}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
