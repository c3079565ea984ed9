"""Reads a client's train reply with distrust, and keeps replies that do not fit the model out of the aggregate.

A client may crash, lie, or send what does not fit.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from logging import WARNING

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.errors import DataError, SpikeleakError, WriteError
from fl_sim.federation.wrappers import StrategyWrapper
from fl_sim.specs import Scalar

_LONGEST_REASON = 500
_LARGEST = 1.8e19  # its square is just a float32: strategies and clients square what they get
NDArray = npt.NDArray[np.generic]


class ReplyError(DataError):
    """A reply is an error, or its content does not fit what was sent. The message is what is wrong with it."""


@dataclass(frozen=True)
class TrainReply:
    """What a sound train reply holds.

    Attributes:
        arrays: {name: array}; the names and shapes that were sent, all finite.
        num_examples: as told by the client, at least 1.
    """

    arrays: Mapping[str, NDArray]
    num_examples: int


def read_reply(
    reply: Message,
    sent: Mapping[str, Array],
    *,
    weighted_by_key: str = "num-examples",
    most_examples: int | None = None,
) -> TrainReply:
    """Return the content of a train reply.

    Args:
        reply: as received.
        sent: the arrays that the client was sent.
        weighted_by_key: the metric that holds the number of examples.
        most_examples: what that number may be at most; None where the client was not told how many to train on.

    Raises:
        ReplyError: the reply is an error, has not exactly one ArrayRecord and one MetricRecord, has other names,
            shapes or kinds of numbers than `sent`, a value that is not finite or whose square is not, or a number of
            examples below 1 or above `most_examples`.
    """
    if reply.has_error():
        raise ReplyError(f"the client failed: {brief_reason(reply)}")
    arrays, metrics = list(reply.content.array_records.values()), list(reply.content.metric_records.values())
    if len(arrays) != 1 or len(metrics) != 1:
        raise ReplyError(f"expected one ArrayRecord and one MetricRecord, got {len(arrays)} and {len(metrics)}")
    missing, surplus = sorted(set(sent) - set(arrays[0])), sorted(set(arrays[0]) - set(sent))
    if missing or surplus:
        raise ReplyError(f"its arrays are not those that were sent: missing {missing}, surplus {surplus}")
    decoded = {name: _decode(name, arrays[0][name], sent[name]) for name in sent}
    count = _count(metrics[0].get(weighted_by_key), weighted_by_key)
    if most_examples is not None and count > most_examples:
        raise ReplyError(f"expected {weighted_by_key} of at most {most_examples}, as ordered, got {count}")
    return TrainReply(decoded, count)


def brief_reason(reply: Message) -> str:
    """Return the last line of an error reply's reason: the exception itself, where Ray sends whole tracebacks."""
    lines = [line for line in (reply.error.reason or "").splitlines() if line.strip()]
    return lines[-1].strip()[:_LONGEST_REASON] if lines else f"error code {reply.error.code}"


def scalars(config: ConfigRecord) -> dict[str, Scalar]:
    """Return the plain values of a ConfigRecord; lists and bytes have no place in a record's JSON."""
    return {key: value for key, value in config.items() if isinstance(value, str | int | float | bool)}


def told_partition(reply: Message) -> int | None:
    """Return the partition id that a client tells in its ConfigRecord "client"; None where it tells none."""
    record = reply.content.config_records.get("client") if reply.has_content() else None
    partition = record.get("partition-id") if record is not None else None
    is_id = isinstance(partition, int) and not isinstance(partition, bool) and partition >= 0
    return partition if is_id and isinstance(partition, int) else None


def _decode(name: str, array: Array, sent: Array) -> NDArray:
    """Return the array's values, checked; nothing is unpickled."""
    shape = tuple(sent.shape)
    try:
        values = array.numpy()
    except (ValueError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
        raise ReplyError(f"{name} is not an array ({type(error).__name__}: {error})") from error
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.number):
        raise ReplyError(f"{name} is not an array of numbers")
    if values.shape != shape:
        raise ReplyError(f"{name} has shape {values.shape}, expected {shape}")
    if np.iscomplexobj(values) or not np.isfinite(values).all():
        raise ReplyError(f"{name} has values that are not finite real numbers")
    # A counter is one number: an average of integers is sent as a float, and comes back as an integer.
    if values.ndim and values.dtype.kind != np.dtype(sent.dtype).kind:
        raise ReplyError(f"{name} holds {values.dtype}, expected {sent.dtype}")
    if max(float(values.max(initial=0)), -float(values.min(initial=0))) > _LARGEST:
        raise ReplyError(f"{name} has values above {_LARGEST:g}, whose squares are not finite")
    return values


def _count(value: object, key: str) -> int:
    """Return the number of examples that a client tells."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value) or value < 1:
        raise ReplyError(f"expected {key} of at least 1, got {value!r}")
    return int(value)


class SoundReplies(StrategyWrapper):
    """Hands only sound replies to the strategy, which by itself would fail or average what is not finite.

    Malformed replies are dropped and logged by partition; error replies are handed on, since strategies count them.

    Args:
        strategy: aggregates the sound replies.

    Raises:
        SpikeleakError: by `aggregate_train`, where clients were asked and none replied soundly, where a client could
            not write what the judges need, or where the aggregate of sound replies is not finite.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self._sent: Mapping[str, Array] = {}
        self._asked = 0
        self._most_examples: int | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the round and remember what is sent."""
        self._sent = dict(arrays)
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        self._asked = len(messages)
        self._most_examples = _ordered_examples(config)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the replies that fit the model."""
        kept, problems = [], []
        for reply in replies:
            try:
                read_reply(reply, self._sent, most_examples=self._most_examples)
            except ReplyError as problem:
                problems.append(str(problem))
                if not reply.has_error():
                    log(WARNING, "Round %d: reply of client %s dropped: %s", server_round, _client(reply), problem)
                    continue
            kept.append(reply)
        if self._asked and all(reply.has_error() for reply in kept):
            first = f" The first: {problems[0]}" if problems else ""
            raise SpikeleakError(f"Round {server_round}: none of the {self._asked} clients replied soundly.{first}")
        unwritten = next((problem for problem in problems if f"{WriteError.__name__}: " in problem), None)
        if unwritten:  # a run without the truth behind a victim would count fewer victims and say nothing
            raise SpikeleakError(f"Round {server_round}: {unwritten}")
        arrays, metrics = self.strategy.aggregate_train(server_round, kept)
        for name, array in (arrays or {}).items():
            if not np.isfinite(array.numpy()).all():
                raise SpikeleakError(f"Round {server_round}: the aggregate of {name} is not finite; it is not sent.")
        return arrays, metrics


def _ordered_examples(config: ConfigRecord) -> int | None:
    """Return how many examples the clients were told to train on; None where they were not."""
    size, steps = config.get("batch-size"), config.get("local-steps")
    return size * steps if isinstance(size, int) and isinstance(steps, int) else None


def _client(reply: Message) -> str:
    partition = told_partition(reply)
    return f"on node {reply.metadata.src_node_id}" if partition is None else str(partition)
