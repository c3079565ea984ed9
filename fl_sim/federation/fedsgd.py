"""Gradient sharing: each client sends the gradient of one batch, the server takes the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fl_sim.federation.wrappers import StrategyWrapper


class FedSGD(StrategyWrapper):
    """FederatedSGD: w <- w - learning_rate * mean gradient.

    Any averaging strategy (FedAvg, FedMedian, Krum, ...) aggregates the gradients; one that steps by itself, such as
    FedAdam, would take them for weights. The clients are told `share = "gradient"`.

    Args:
        strategy: aggregates the replies.
        learning_rate: of the server's step.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017,
    section 2.
    """

    def __init__(self, strategy: Strategy, learning_rate: float) -> None:
        super().__init__(strategy)
        self._learning_rate = learning_rate
        self._current: Mapping[str, Array] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask for gradients at the current model."""
        self._current = dict(arrays)
        config["share"] = "gradient"
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take one step along the aggregated gradient; arrays without a gradient stay as they are."""
        gradients, metrics = self.strategy.aggregate_train(server_round, replies)
        if gradients is None:
            return None, metrics
        return ArrayRecord({name: self._step(name, array, gradients) for name, array in self._current.items()}), metrics

    def _step(self, name: str, array: Array, gradients: Mapping[str, Array]) -> Array:
        if name not in gradients:
            return array
        before = array.numpy()
        gradient = gradients[name].numpy().astype(before.dtype)
        return Array(np.asarray(before - self._learning_rate * gradient, dtype=before.dtype))
