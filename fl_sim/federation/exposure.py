"""What the defences of a federation claim, from its config and from how many examples its clients hold."""

from __future__ import annotations

from fl_sim.config import SimulationConfig
from fl_sim.config.strategies import STRATEGY_CLAIMS
from fl_sim.defences import NO_DEFENCE, known_entry
from fl_sim.defences.claims import Claim, Exposure, claim_by
from fl_sim.federation.client_data import partition_indices
from fl_sim.federation.strategies import sampled_clients


def claims_of(config: SimulationConfig) -> tuple[Claim, ...]:
    """Return what the clients' defence claims, and then what the strategy claims; () if neither defends.

    Raises:
        ConfigError, DataError: a claim cannot be imported, or the data are missing or corrupt.
    """
    defence, strategy = config.defence, config.strategy
    rules = []
    if defence.name != NO_DEFENCE:
        rules.append((known_entry(defence.name).claim, defence.name, defence.settings))
    if strategy.name in STRATEGY_CLAIMS:
        rules.append((STRATEGY_CLAIMS[strategy.name], strategy.name, strategy.arguments))
    if not rules:
        return ()
    exposure = exposure_of(config)
    return tuple(claim_by(rule, name, settings, exposure) for rule, name, settings in rules)


def exposure_of(config: SimulationConfig) -> Exposure:
    """Return how often a federation releases something of a client or of one example, at most."""
    federation, sampled = config.federation, sampled_clients(config)
    held = sorted(len(partition_indices(config, client)) for client in range(federation.clients))
    return Exposure(
        rounds=federation.rounds,
        uses=federation.rounds * (federation.local_epochs or _uses(held[0], config)),
        steps=0 if federation.local_epochs else federation.rounds * federation.local_steps,
        rate=min(1.0, federation.batch_size / held[0]),
        sampled=sampled,
        heaviest=held[-1] / (held[-1] + sum(held[: sampled - 1])),
        all_answer=federation.dropout == 0.0,
    )


def _uses(held: int, config: SimulationConfig) -> int:
    """Return in how many local steps of a round an example can be: one in each permutation that the steps begin."""
    in_epoch = max(1, held // config.federation.batch_size)
    return -(-config.federation.local_steps // in_epoch)
