"""Strategy by name: gradient sharing, or any of Flower's that averages models."""

from __future__ import annotations

import inspect
from typing import Any

from flwr.serverapp import strategy as flower_strategies
from flwr.serverapp.strategy import FedAvg, Strategy

from fl_sim.config import SimulationConfig
from fl_sim.errors import ConfigError
from fl_sim.federation.fedsgd import FedSGD


def strategy_arguments(config: SimulationConfig) -> dict[str, Any]:
    """Return the arguments of the constructor of Flower's strategy: those of the config, and what the testbed sets."""
    kind = _flower_class(config.strategy.name)
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    given = config.strategy.arguments
    federation = config.federation
    fixed: dict[str, Any] = {
        "fraction_train": federation.fraction,
        "fraction_evaluate": 0.0,
        "min_train_nodes": max(1, int(federation.clients * federation.fraction + 1e-9)),
        "min_evaluate_nodes": 0,
        "min_available_nodes": federation.clients,
        "client_learning_rate": federation.learning_rate,
        "train_loss_key": "train-loss",
    }
    return {name: value for name, value in fixed.items() if name in known} | dict(given)


def build_strategy(config: SimulationConfig) -> Strategy:
    """Return the strategy that a config names.

    Raises:
        ConfigError: an argument is refused by the strategy.
    """
    arguments = strategy_arguments(config)
    name = config.strategy.name
    try:
        strategy = _flower_class(name)(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"strategy: {name} refuses its arguments {config.strategy.arguments}: {error}") from error
    return FedSGD(strategy, config.federation.learning_rate) if name == "FedSGD" else strategy


def _flower_class(name: str) -> type[FedAvg]:
    """Return the class of Flower that a strategy is, or by which FedSGD averages the gradients."""
    kind: type[FedAvg] = FedAvg if name == "FedSGD" else getattr(flower_strategies, name)
    return kind
