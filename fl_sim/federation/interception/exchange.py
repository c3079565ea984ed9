"""A train message and the reply to it, in the dialect of Flower's message API and in that of a `NumPyClient`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array, ConfigRecord, Message, Metadata
from torch import Tensor

from fl_sim.federation.messages import (
    LABELS,
    SECURE_AGGREGATION,
    SIZES,
    NDArray,
    ReplyError,
    brief_reason,
    decode,
    plain_key,
    sent_config,
)
from fl_sim.foreign_weights import strip_common_prefix
from fl_sim.specs import Scalar

_EMPTY = "_empty"  # the name that an empty list of arrays has in the dialect of a NumPyClient
_COUNTS = (
    "num-examples", "examples", "num-samples", "samples", "n-samples", "n-examples", "num-train-examples", "n",
    "dataset-size", "data-size", "train-size", "trainset-size", "num-data", "count",
)  # fmt: skip
"""Usual names of the number of examples."""

_OTHER = ("epoch", "step", "iter", "round", "batch", "time", "second", "correct", "id", "rank", "seed", "bytes")
"""Parts of the names of whole numbers that are not a number of examples."""

_MOST_NAMES = 3
_LONGEST_REASON = 500


@dataclass(frozen=True)
class Request:
    """A copy of a train message as it was sent, since strategies reuse and empty their records afterwards.

    Attributes:
        metadata: of the message.
        records: {name: arrays} of its ArrayRecords.
        config: the plain values of its ConfigRecords.
        round: server round.
        is_masked: whether the reply is masked by secure aggregation.
    """

    metadata: Metadata
    records: Mapping[str, Mapping[str, Array]]
    config: Mapping[str, Scalar]
    round: int
    is_masked: bool = False


@dataclass(frozen=True)
class Exchange:
    """What was sent to a client and what came back, by the names that were sent.

    Attributes:
        sent: all that was sent.
        received: those of them that came back, with the shapes that were sent.
        ignored: names of the other arrays in the reply.
        num_examples: as reported by the client; 0 if it reported none.
        labels: (N,) of its examples in the order of use, if the client tells them.
        sizes: number of examples in each local step, if the client tells them.
    """

    sent: Mapping[str, NDArray]
    received: Mapping[str, NDArray]
    ignored: tuple[str, ...]
    num_examples: int
    labels: Tensor | None = None
    sizes: tuple[int, ...] | None = None


def is_train(message: Message) -> bool:
    """Return whether a message asks for training."""
    return message.metadata.message_type.partition(".")[0] == "train" and message.has_content()


def arrays_in(message: Message) -> dict[str, dict[str, Array]]:
    """Return a copy of the ArrayRecords that hold arrays."""
    return {name: dict(record) for name, record in message.content.array_records.items() if set(record) - {_EMPTY}}


def request_of(message: Message, server_round: int) -> Request:
    """Return what a train message of a round asks for."""
    return Request(
        metadata=message.metadata,
        records=arrays_in(message),
        config=sent_config(message),
        round=server_round,
        is_masked=SECURE_AGGREGATION in message.content.config_records,
    )


def read_exchange(request: Request, reply: Message, *, weighted_by_key: str | None = None) -> Exchange:
    """Return what was sent and what came back.

    Args:
        request: what was sent.
        reply: as received.
        weighted_by_key: the metric with the number of examples, if it is known.

    Raises:
        ReplyError: the reply is an error, or holds none of the arrays that were sent, or one of them has another
            shape or is not finite.
    """
    check_success(reply)
    replied = arrays_in(reply)
    if not replied:
        raise ReplyError("it holds no arrays")
    if not request.records:
        raise ReplyError("the client was sent no arrays, so that those in its reply are not the change of a model")
    sent, arrays, theirs = _matching(request.records, replied)
    decoded = {name: decode(name, array) for name, array in sent.items()}
    received = {name: _received(name, arrays[theirs[name]], decoded[name]) for name in sent if name in theirs}
    ignored = tuple(sorted(set(arrays) - set(theirs.values()) - {_EMPTY}))
    return Exchange(decoded, received, ignored, count_of(reply, weighted_by_key), _labels_in(reply), _sizes_in(reply))


def _labels_in(reply: Message) -> Tensor | None:
    """Return the labels that a client tells beside its update."""
    told = _counts_in(reply, LABELS)
    return torch.tensor(told) if told else None


def _sizes_in(reply: Message) -> tuple[int, ...] | None:
    """Return the sizes of a client's batches as it tells them beside its update."""
    return tuple(_counts_in(reply, SIZES)) or None


def _counts_in(reply: Message, key: str) -> list[int]:
    """Return whole numbers of at least 0 that a client tells under a key; [] if it tells none, or something else."""
    told = next((record[key] for record in reply.content.config_records.values() if key in record), None)
    whole = isinstance(told, list) and all(type(one) is int and one >= 0 for one in told)
    return [int(str(one)) for one in told] if isinstance(told, list) and whole else []


def check_success(reply: Message) -> None:
    """Raise ReplyError if a reply says that the client failed."""
    if reply.has_error():
        raise ReplyError(f"the client failed: {brief_reason(reply)}")
    status = reply.content.config_records.get("fitres.status", ConfigRecord())
    if status.get("code", 0) != 0:
        raise ReplyError(f"the client failed: {str(status.get('message'))[:_LONGEST_REASON]}")


def count_of(reply: Message, weighted_by_key: str | None) -> int:
    """Return the number of examples that a client reports; 0 if it reports none.

    It is the metric of that key; else one with a usual name; else the only whole number, unless its name says that it
    is something else.
    """
    records = [record for _, record in sorted(reply.content.metric_records.items())]
    metrics = {key: value for record in reversed(records) for key, value in record.items()}
    plain = {plain_key(key): value for key, value in metrics.items()}
    named = itertools.chain([metrics.get(weighted_by_key or "")], (plain.get(key) for key in _COUNTS))
    stated = next((value for value in named if value is not None), None)
    if stated is not None:
        return _whole(stated)
    unnamed = [value for key, value in plain.items() if isinstance(value, int) and not any(w in key for w in _OTHER)]
    return _whole(unnamed[0]) if len(unnamed) == 1 else 0


def _matching(
    sent: Mapping[str, Mapping[str, Array]], replied: Mapping[str, Mapping[str, Array]]
) -> tuple[Mapping[str, Array], Mapping[str, Array], dict[str, str]]:
    """Return the record that was sent, that of the reply which matches it best, and {name: its name in the reply}.

    A reply may hold momentum beside the model, and a server may send control variates. Of pairs that match equally
    well the first with the same key is taken.
    """
    best: tuple[Mapping[str, Array], Mapping[str, Array], dict[str, str]] | None = None
    for same_key in (True, False):
        for (our_key, ours), (their_key, theirs) in itertools.product(sent.items(), replied.items()):
            if (our_key == their_key) is same_key:
                names = _names(ours, theirs)
                if best is None or len(names) > len(best[2]):
                    best = ours, theirs, names
    if best is None or not best[2]:
        found, wanted = (_brief(name for record in records.values() for name in record) for records in (replied, sent))
        raise ReplyError(f"none of its arrays ({found}) is one of those that were sent ({wanted})")
    return best


def _names(sent: Mapping[str, Array], replied: Mapping[str, Array]) -> dict[str, str]:
    """Return {name as sent: name in the reply}: the same, or with a wrapper's prefix on one side."""
    same = {name: name for name in sent if name in replied and name != _EMPTY}
    if same:
        return same
    _, stripped = strip_common_prefix(replied, sent)
    theirs = dict(zip(stripped, replied, strict=True))
    found = {name: theirs[name] for name in sent if name in theirs}
    if found:
        return found
    _, stripped = strip_common_prefix(sent, replied)
    return {name: bare for name, bare in zip(sent, stripped, strict=True) if bare in replied}


def _received(name: str, array: Array, sent: NDArray) -> NDArray:
    values = decode(name, array)
    if values.shape != sent.shape:
        raise ReplyError(f"{name} has shape {values.shape}, expected {sent.shape}")
    return values


def _whole(value: object) -> int:
    """Return a number of examples; 0 of a value that is none."""
    is_count = isinstance(value, int | float) and np.isfinite(value) and value >= 1 and value == int(value)
    return int(value) if is_count and isinstance(value, int | float) else 0


def _brief(names: Iterable[str]) -> str:
    """Return the first few names as text."""
    listed = list(names)
    return ", ".join(listed[:_MOST_NAMES]) + (", ..." if len(listed) > _MOST_NAMES else "")
