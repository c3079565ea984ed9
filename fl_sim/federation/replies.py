"""Keeps train replies that do not fit the model out of the aggregate of our own federations.

A client may crash, lie, or send arrays of the wrong shape, so nothing in a reply is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import WARNING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.errors import IncompleteError, SpikeleakError, WriteError
from fl_sim.federation.messages import ReplyError, brief_reason, decode, told_partition
from fl_sim.federation.wrappers import StrategyWrapper

_COUNT = "num-examples"


def check_reply(reply: Message, sent: Mapping[str, Array], *, most_examples: int | None = None) -> None:
    """Check that a strategy can aggregate a train reply.

    Args:
        reply: as received.
        sent: the arrays that were sent to the client.
        most_examples: maximum of "num-examples"; None for any number.

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
    for name, array in arrays[0].items():
        _check_array(name, array, sent[name])
    _check_count(metrics[0].get(_COUNT), most_examples)


def _check_array(name: str, array: Array, sent: Array) -> None:
    """Check that an array has the shape and the kind of numbers of the one that was sent."""
    values, shape = decode(name, array), tuple(sent.shape)
    if values.shape != shape:
        raise ReplyError(f"{name} has shape {values.shape}, expected {shape}")
    # Scalars are exempt: a counter is averaged and sent as a float, and the client returns an integer.
    if values.ndim and values.dtype.kind != np.dtype(sent.dtype).kind:
        raise ReplyError(f"{name} holds {values.dtype}, expected {sent.dtype}")


def _check_count(value: object, most_examples: int | None) -> None:
    """Check the number of examples that a client reports."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value) or value < 1:
        raise ReplyError(f"expected {_COUNT} of at least 1, got {value!r}")
    if most_examples is not None and int(value) > most_examples:
        raise ReplyError(f"expected {_COUNT} of at most {most_examples}, which is all there are, got {int(value)}")


class SoundReplies(StrategyWrapper):
    """Passes only valid replies to the strategy, which by itself would fail or average values that are not finite.

    Malformed replies are dropped and logged by partition; error replies are passed on, since strategies count them.

    Args:
        strategy: aggregates the valid replies.
        most_examples: that a client can hold; None if that is not known.

    Attributes:
        asked: {round: ids of the nodes that were asked to train}.
        problems: {(round, id of a node): why there is no valid reply of it}.

    Raises:
        IncompleteError: from `aggregate_train`, if none of the clients that were asked sent a valid reply.
        SpikeleakError: from there, if a client could not write the sealed truth, or if the aggregate of valid replies
            is not finite.
    """

    def __init__(self, strategy: Strategy, most_examples: int | None = None) -> None:
        super().__init__(strategy)
        self.asked: dict[int, tuple[int, ...]] = {}
        self.problems: dict[tuple[int, int], str] = {}
        self._sent: Mapping[str, Array] = {}
        self._most_examples = most_examples

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the round and remember the arrays that are sent."""
        self._sent = dict(arrays)
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        self.asked[server_round] = tuple(message.metadata.dst_node_id for message in messages)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the replies that fit the model."""
        kept, problems, asked = [], [], self.asked.get(server_round, ())
        silent = dict.fromkeys(asked, "no reply came")
        for reply in replies:
            node = reply.metadata.src_node_id
            silent.pop(node, None)
            try:
                check_reply(reply, self._sent, most_examples=self._most_examples)
            except ReplyError as problem:
                problems.append(str(problem))
                self.problems[server_round, node] = str(problem)
                if not reply.has_error():
                    log(WARNING, "Round %d: reply of client %s dropped: %s", server_round, _client(reply), problem)
                    continue
            kept.append(reply)
        self.problems |= {(server_round, node): problem for node, problem in silent.items()}
        if asked and all(reply.has_error() for reply in kept):
            first = f" First problem: {problems[0]}" if problems else ""
            raise IncompleteError(f"Round {server_round}: none of the {len(asked)} clients sent a valid reply.{first}")
        unwritten = next((problem for problem in problems if f"{WriteError.__name__}: " in problem), None)
        if unwritten:  # without the truth behind a victim, the run would silently have fewer victims
            raise SpikeleakError(f"Round {server_round}: {unwritten}")
        arrays, metrics = self.strategy.aggregate_train(server_round, kept)
        for name, array in (arrays or {}).items():
            if not np.isfinite(array.numpy()).all():
                raise SpikeleakError(f"Round {server_round}: the aggregate of {name} is not finite; it is not sent.")
        return arrays, metrics


def _client(reply: Message) -> str:
    partition = told_partition(reply)
    return f"on node {reply.metadata.src_node_id}" if partition is None else str(partition)
