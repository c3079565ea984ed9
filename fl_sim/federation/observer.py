"""What a server behind secure aggregation sees: the sum over k clients, in place of each client's update.

This is the ideal that SecAgg and SecAgg+ aim at: the federation itself runs as it does without, and what is captured of
it is the weighted aggregate alone. For Flower's own workflow see `fl_sim.federation.interception.aggregates`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fl_sim.captures import capture_id
from fl_sim.federation.interception import Sink
from fl_sim.records import CapturedUpdate


class SumOfClients:
    """A sink that passes on the mean of the updates of every k clients of a round, in the order of their replies.

    Clients that are left over, fewer than k, are never seen: secure aggregation gives no sum over too few. Its captures
    have the numbers after those of the clients.

    Args:
        sink: receives the means.
        federation_id: name of the federation.
        clients: number of clients of the federation.
        summed: k; 0 for all that answer in a round.
    """

    def __init__(self, sink: Sink, federation_id: str, *, clients: int, summed: int) -> None:
        self._sink, self._federation, self._clients, self._summed = sink, federation_id, clients, summed
        self._waiting: list[CapturedUpdate] = []
        self._sums = 0

    def __call__(self, capture: CapturedUpdate) -> None:
        """Take a client's update; one of another round than those before ends their round."""
        if self._waiting and self._waiting[0].round != capture.round:
            self.finish()
        self._waiting.append(capture)
        if len(self._waiting) == self._summed:
            self._pass_on()

    def finish(self) -> None:
        """End the round: pass on the sum over all clients, if that is asked for, and forget who is left over."""
        if self._waiting and not self._summed:
            self._pass_on()
        self._waiting, self._sums = [], 0

    def _pass_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        number = self._clients + self._sums
        self._sums += 1
        self._sink(mean_of(waiting, capture_id(self._federation, waiting[0].round, number), number))


def mean_of(captures: Sequence[CapturedUpdate], record_id: str, client: int) -> CapturedUpdate:
    """Return the mean of clients' updates of a round, weighted by the examples behind each, as one capture.

    Args:
        captures: of the same round and model, one or more.
        record_id: id of the result.
        client: number of the result, that of no client.
    """
    first = captures[0]
    weights = [max(1, capture.num_examples) for capture in captures]
    labels = [capture.labels for capture in captures if capture.labels is not None]
    return dataclasses.replace(
        first,
        id=record_id,
        client=client,
        update={name: _mean([one.update for one in captures], name, weights) for name in first.update},
        num_examples=sum(capture.num_examples for capture in captures),
        labels=torch.cat(labels) if len(labels) == len(captures) else None,
        clients=len(captures),
        members=tuple(capture.client for capture in captures),
        sizes=None,
    )


def _mean(updates: Sequence[Mapping[str, Tensor]], name: str, weights: Sequence[int]) -> Tensor:
    """Return the weighted mean of a tensor, taken in float64 and in its own dtype."""
    total = sum((weight * one[name].double() for weight, one in zip(weights, updates, strict=True)), torch.zeros(()))
    return (total / sum(weights)).to(updates[0][name].dtype)
