"""Clients that do not answer: a share of those that were asked to train in a round, drawn anew in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.federation.wrappers import StrategyWrapper


class DropOut(StrategyWrapper):
    """Asks only those clients that will answer, which gives the average that silent clients leave behind.

    Args:
        strategy: samples the clients and aggregates the replies.
        probability: that a sampled client does not answer; of all that are drawn silent, the last one answers.
        stream: draws who is silent, in the order of the partitions.
        partition_of: node id -> partition id.
    """

    def __init__(
        self, strategy: Strategy, probability: float, stream: torch.Generator, partition_of: Callable[[int], int]
    ) -> None:
        super().__init__(strategy)
        self._probability, self._stream, self._partition_of = probability, stream, partition_of

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the messages of a round to the clients that answer."""
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        if not self._probability:
            return messages
        messages.sort(key=lambda message: self._partition_of(message.metadata.dst_node_id))
        draws = torch.rand(len(messages), generator=self._stream).tolist()
        answering = [message for message, draw in zip(messages, draws, strict=True) if draw >= self._probability]
        return answering or messages[-1:]
