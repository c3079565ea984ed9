"""Strategy by name: gradient sharing, or any of Flower's that averages models."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

import pydantic
from flwr.serverapp import strategy as flower_strategies
from flwr.serverapp.strategy import FedAvg, Strategy

from fl_sim.config import SimulationConfig
from fl_sim.errors import ConfigError, nearest
from fl_sim.federation.fedsgd import FedSGD

# Arguments of Flower's constructors that the testbed sets, and what sets them.
_FIXED = {
    "fraction_train": "federation.fraction",
    "fraction_evaluate": "the testbed",
    "min_train_nodes": "federation.fraction",
    "min_evaluate_nodes": "the testbed",
    "min_available_nodes": "federation.clients",
    "weighted_by_key": "the testbed",
    "arrayrecord_key": "the testbed",
    "configrecord_key": "the testbed",
    "train_metrics_aggr_fn": "the testbed",
    "evaluate_metrics_aggr_fn": "the testbed",
    "client_learning_rate": "federation.learning_rate",
    "train_loss_key": "the testbed",
}


def strategy_arguments(config: SimulationConfig) -> dict[str, Any]:
    """Return the checked arguments of the constructor of Flower's strategy.

    Raises:
        ConfigError: an argument is unknown, of the wrong type, or set by another key; names `strategy.<key>`.
    """
    kind = _flower_class(config.strategy.name)
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    given = config.strategy.arguments
    _check(config.strategy.name, kind, given, known)
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
        ConfigError: an argument is unknown, of the wrong type, or refused by the strategy.
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


def _check(name: str, kind: type[FedAvg], given: Mapping[str, object], known: set[str]) -> None:
    """Refuse arguments that the strategy's constructor does not take or the testbed sets."""
    free = sorted(known - set(_FIXED))
    hints = typing.get_type_hints(kind.__init__)
    for key, value in given.items():
        if key in _FIXED:
            raise ConfigError(f"strategy.{key}: set by {_FIXED[key]}, so it cannot be given here.")
        if key not in free:
            options = f"{nearest(key, free)} Known: {', '.join(free)}." if free else " It has none."
            raise ConfigError(f"strategy.{key}: unknown argument of {name}.{options}")
        try:
            pydantic.TypeAdapter(hints[key]).validate_python(value, strict=True)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise ConfigError(f"strategy.{key}: {problem[0].lower()}{problem[1:]}, got {value!r}.") from error
