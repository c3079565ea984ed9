"""The arguments of each strategy in a config. Nothing here imports Flower, so that an error is reported before that."""

from __future__ import annotations

from collections.abc import Mapping

from fl_sim.errors import ConfigError, nearest

_STEPS = {"eta": float, "eta_l": float, "tau": float}
_MOMENTS = {**_STEPS, "beta_1": float, "beta_2": float}
_MALICIOUS = {"num_malicious_nodes": int}
_FIXED = {"noise_multiplier": float, "clipping_norm": float}
_ADAPTIVE = {
    "noise_multiplier": float, "initial_clipping_norm": float, "target_clipped_quantile": float, "clip_norm_lr": float,
}  # fmt: skip

STRATEGY_ARGUMENTS: Mapping[str, Mapping[str, type]] = {
    "FedSGD": {},
    "Bulyan": _MALICIOUS,
    "DifferentialPrivacyClientSideAdaptiveClipping": _ADAPTIVE,
    "DifferentialPrivacyClientSideFixedClipping": _FIXED,
    "DifferentialPrivacyServerSideAdaptiveClipping": _ADAPTIVE,
    "DifferentialPrivacyServerSideFixedClipping": _FIXED,
    "FedAdagrad": _STEPS,
    "FedAdam": _MOMENTS,
    "FedAvg": {},
    "FedAvgM": {"server_learning_rate": float, "server_momentum": float},
    "FedMedian": {},
    "FedProx": {"proximal_mu": float},
    "FedTrimmedAvg": {"beta": float},
    "FedYogi": _MOMENTS,
    "Krum": _MALICIOUS,
    "MultiKrum": {**_MALICIOUS, "num_nodes_to_select": int},
    "QFedAvg": {"q": float},
}
"""{strategy: {argument: type}}: arguments of Flower's constructors that a config can set; a test compares the two."""

_ADAPTIVE_DEFAULTS = {"initial_clipping_norm": 0.1, "target_clipped_quantile": 0.5, "clip_norm_lr": 0.2}
FLOWER_DEFAULTS: Mapping[str, Mapping[str, int | float]] = {
    "DifferentialPrivacyClientSideAdaptiveClipping": _ADAPTIVE_DEFAULTS,
    "DifferentialPrivacyServerSideAdaptiveClipping": _ADAPTIVE_DEFAULTS,
    "Bulyan": {"num_malicious_nodes": 0},
    "FedAdagrad": {"eta": 0.1, "eta_l": 0.1, "tau": 1e-3},
    "FedAdam": {"eta": 0.1, "eta_l": 0.1, "tau": 1e-3, "beta_1": 0.9, "beta_2": 0.99},
    "FedAvgM": {"server_learning_rate": 1.0, "server_momentum": 0.0},
    "FedProx": {"proximal_mu": 0.0},
    "FedTrimmedAvg": {"beta": 0.2},
    "FedYogi": {"eta": 0.01, "eta_l": 0.0316, "tau": 1e-3, "beta_1": 0.9, "beta_2": 0.99},
    "Krum": {"num_malicious_nodes": 0},
    "MultiKrum": {"num_malicious_nodes": 0, "num_nodes_to_select": 1},
    "QFedAvg": {"q": 0.1},
}
"""Defaults of Flower's constructors, written here so that Flower need not be imported; a test compares the two."""

REQUIRED_ARGUMENTS = ("noise_multiplier", "clipping_norm")
"""Arguments for which Flower has no default."""

STRATEGY_CLAIMS: Mapping[str, str] = {
    name: f"fl_sim.defences.central:{'adaptive' if own is _ADAPTIVE else 'fixed'}"
    for name, own in STRATEGY_ARGUMENTS.items()
    if own in (_ADAPTIVE, _FIXED)
}
"""{strategy that wraps FedAvg for central differential privacy: place of what it claims}."""

FIXED_ARGUMENTS = {
    "num_sampled_clients": "federation.fraction",
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
"""Arguments of Flower's constructors that the testbed sets, and what sets them."""


def check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    """Check the arguments of a strategy.

    Args:
        name: name of the strategy.
        arguments: its arguments, by name.

    Raises:
        ConfigError: the strategy does not take an argument, the testbed sets it, its type is wrong, or one that it
            needs is missing; the message names `strategy.<key>`.
    """
    free = STRATEGY_ARGUMENTS[name]
    for key, value in arguments.items():
        if key in FIXED_ARGUMENTS:
            raise ConfigError(f"strategy.{key}: set by {FIXED_ARGUMENTS[key]}, so it cannot be set here.")
        if key not in free:
            known = f" Known: name, {', '.join(sorted(free))}." if free else " It has none."
            raise ConfigError(f"strategy.{key}: unknown argument of {name}.{nearest(key, [*free, 'name'])}{known}")
        fits = isinstance(value, int if free[key] is int else int | float) and not isinstance(value, bool)
        if not fits:
            kind = "integer" if free[key] is int else "number"
            raise ConfigError(f"strategy.{key}: input should be a valid {kind}, got {value!r}.")
    for key in REQUIRED_ARGUMENTS:
        if key in free and key not in arguments:
            raise ConfigError(f"strategy.{key}: {name} needs it, and Flower has no default for it.")
