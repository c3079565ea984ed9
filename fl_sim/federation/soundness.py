"""Keeping replies that do not fit the model out of the aggregate, and a federation of failures out of the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import WARNING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.errors import SpikeleakError, WriteError
from fl_sim.federation.replies import ReplyError, read_reply, told_partition
from fl_sim.federation.wrappers import StrategyWrapper


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
