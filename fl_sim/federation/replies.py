"""Validates the train replies of clients and keeps those that do not fit the model out of the aggregate.

A client may crash, lie, or send arrays of the wrong shape, so nothing in a reply is trusted.
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
_LARGEST = 1.8e19  # its square just fits into float32; strategies and clients compute squares
NDArray = npt.NDArray[np.generic]


class ReplyError(DataError):
    """A reply is an error, or its content does not fit what was sent. The message states the problem."""


@dataclass(frozen=True)
class TrainReply:
    """The content of a valid train reply.

    Attributes:
        arrays: {name: array} with the names and shapes that were sent, all finite.
        num_examples: as reported by the client, at least 1.
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
        sent: the arrays that were sent to the client.
        weighted_by_key: the metric with the number of examples.
        most_examples: maximum of that number; None if the server did not set the number of examples to train on.

    Raises:
        ReplyError: the reply is an error; it does not have exactly one ArrayRecord and one MetricRecord; its names,
            shapes or kinds of numbers differ from those of `sent`; a value or its square is not finite; or the number
            of examples is below 1 or above `most_examples`.
    """
    if reply.has_error():
        raise ReplyError(f"the client failed: {brief_reason(reply)}")
    arrays, metrics = list(reply.content.array_records.values()), list(reply.content.metric_records.values())
    if len(arrays) != 1 or len(metrics) != 1:
        raise ReplyError(f"expected one ArrayRecord and one MetricRecord, got {len(arrays)} and {len(metrics)}")
    missing, unexpected = sorted(set(sent) - set(arrays[0])), sorted(set(arrays[0]) - set(sent))
    if missing or unexpected:
        raise ReplyError(f"its arrays are not those that were sent: missing {missing}, unexpected {unexpected}")
    decoded = {name: _decode(name, arrays[0][name], sent[name]) for name in sent}
    count = _count(metrics[0].get(weighted_by_key), weighted_by_key)
    if most_examples is not None and count > most_examples:
        raise ReplyError(f"expected {weighted_by_key} of at most {most_examples}, as requested, got {count}")
    return TrainReply(decoded, count)


def brief_reason(reply: Message) -> str:
    """Return the last line of an error reply's reason: the exception itself, since Ray sends whole tracebacks."""
    lines = [line for line in (reply.error.reason or "").splitlines() if line.strip()]
    return lines[-1].strip()[:_LONGEST_REASON] if lines else f"error code {reply.error.code}"


def scalars(config: ConfigRecord) -> dict[str, Scalar]:
    """Return the plain values of a ConfigRecord, without lists and bytes, which a capture does not store."""
    return {key: value for key, value in config.items() if isinstance(value, str | int | float | bool)}


def told_partition(reply: Message) -> int | None:
    """Return the partition id that a client reports in its ConfigRecord "client"; None if it reports none."""
    record = reply.content.config_records.get("client") if reply.has_content() else None
    partition = record.get("partition-id") if record is not None else None
    is_id = isinstance(partition, int) and not isinstance(partition, bool) and partition >= 0
    return partition if is_id and isinstance(partition, int) else None


def _decode(name: str, array: Array, sent: Array) -> NDArray:
    """Return the validated values of an array; nothing is unpickled."""
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
    # Scalars are exempt: a counter is averaged and sent as a float, and the client returns an integer.
    if values.ndim and values.dtype.kind != np.dtype(sent.dtype).kind:
        raise ReplyError(f"{name} holds {values.dtype}, expected {sent.dtype}")
    if max(float(values.max(initial=0)), -float(values.min(initial=0))) > _LARGEST:
        raise ReplyError(f"{name} has values above {_LARGEST:g}, whose squares are not finite")
    return values


def _count(value: object, key: str) -> int:
    """Return the number of examples that a client reports."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value) or value < 1:
        raise ReplyError(f"expected {key} of at least 1, got {value!r}")
    return int(value)


class SoundReplies(StrategyWrapper):
    """Passes only valid replies to the strategy, which by itself would fail or average values that are not finite.

    Malformed replies are dropped and logged by partition; error replies are passed on, since strategies count them.

    Args:
        strategy: aggregates the valid replies.

    Raises:
        SpikeleakError: from `aggregate_train`, if none of the clients that were asked sent a valid reply, if a client
            could not write the sealed truth, or if the aggregate of valid replies is not finite.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self._sent: Mapping[str, Array] = {}
        self._asked = 0
        self._most_examples: int | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the round and remember the arrays that are sent."""
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
            first = f" First problem: {problems[0]}" if problems else ""
            raise SpikeleakError(f"Round {server_round}: none of the {self._asked} clients sent a valid reply.{first}")
        unwritten = next((problem for problem in problems if f"{WriteError.__name__}: " in problem), None)
        if unwritten:  # without the truth behind a victim, the run would silently have fewer victims
            raise SpikeleakError(f"Round {server_round}: {unwritten}")
        arrays, metrics = self.strategy.aggregate_train(server_round, kept)
        for name, array in (arrays or {}).items():
            if not np.isfinite(array.numpy()).all():
                raise SpikeleakError(f"Round {server_round}: the aggregate of {name} is not finite; it is not sent.")
        return arrays, metrics


def _ordered_examples(config: ConfigRecord) -> int | None:
    """Return the number of examples to train on in the train config; None if the config does not set it."""
    size, steps = config.get("batch-size"), config.get("local-steps")
    return size * steps if isinstance(size, int) and isinstance(steps, int) else None


def _client(reply: Message) -> str:
    partition = told_partition(reply)
    return f"on node {reply.metadata.src_node_id}" if partition is None else str(partition)
