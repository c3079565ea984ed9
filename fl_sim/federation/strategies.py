"""Strategies by name: any of Flower's that averages models, or gradient sharing (FedSGD), which is defined here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower_strategies
from flwr.serverapp.strategy import FedAvg, Strategy

from fl_sim.config import SimulationConfig
from fl_sim.config.strategies import STRATEGY_CLAIMS
from fl_sim.errors import ConfigError
from fl_sim.federation.wrappers import StrategyWrapper


def sampled_clients(config: SimulationConfig) -> int:
    """Return how many clients are asked to train in a round."""
    return max(1, int(config.federation.clients * config.federation.fraction + 1e-9))


def strategy_arguments(config: SimulationConfig, kind: type[Strategy]) -> dict[str, Any]:
    """Return the arguments of a Flower strategy's constructor that the testbed sets."""
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    federation = config.federation
    fixed: dict[str, Any] = {
        "fraction_train": federation.fraction,
        "fraction_evaluate": 0.0,
        "min_train_nodes": sampled_clients(config),
        "min_evaluate_nodes": 0,
        "min_available_nodes": federation.clients,
        "client_learning_rate": federation.learning_rate,
        "train_loss_key": "train-loss",
        "num_sampled_clients": sampled_clients(config),
    }
    return {name: value for name, value in fixed.items() if name in known}


def build_strategy(config: SimulationConfig) -> Strategy:
    """Return the strategy of a config; those for central differential privacy wrap FedAvg.

    Raises:
        ConfigError: the strategy rejects an argument.
    """
    name, own = config.strategy.name, config.strategy.arguments
    kind = _flower_class(name)
    inner = {"strategy": FedAvg(**strategy_arguments(config, FedAvg))} if name in STRATEGY_CLAIMS else {}
    try:
        strategy = kind(**inner, **strategy_arguments(config, kind), **own)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"strategy: {name} rejects its arguments {own}: {error}") from error
    return FedSGD(strategy, config.federation.learning_rate) if name == "FedSGD" else strategy


def _flower_class(name: str) -> type[Strategy]:
    """Return the Flower class of a strategy; for FedSGD, the class that averages the gradients."""
    kind: type[Strategy] = FedAvg if name == "FedSGD" else getattr(flower_strategies, name)
    return kind


class FedSGD(StrategyWrapper):
    """FederatedSGD: w <- w - learning_rate * mean gradient.

    The gradients can be aggregated by any averaging strategy (FedAvg, FedMedian, Krum, ...); a strategy that takes its
    own steps, such as FedAdam, would treat them as weights. The train config contains `share = "gradient"`.

    Args:
        strategy: aggregates the replies.
        learning_rate: step size of the server.

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
        """Ask the clients for gradients at the current model."""
        self._current = dict(arrays)
        config["share"] = "gradient"
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take one step against the aggregated gradient; arrays without a gradient are unchanged."""
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
