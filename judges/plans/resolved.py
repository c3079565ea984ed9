"""A config completed by the defaults of all settings. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attacks import ATTACKS
from fl_sim.config import Raw
from fl_sim.config.defence import agreed_settings
from judges.plans.base import NO_ATTACK, ExperimentBase
from judges.runs.identity import PROTOCOL


def resolved(raw: Raw, combinations: Sequence[ExperimentBase], apart: Collection[str], tables: Sequence[str]) -> Raw:
    """Return `raw` completed by the defaults of all settings whose value is the same in all combinations.

    Args:
        raw: a config as read.
        combinations: of its axes.
        apart: paths of settings that each protocol of the config sets for itself.
        tables: keys whose plain value means the table's `name`.
    """
    whole = combinations[0].model_dump(exclude={"repeat", PROTOCOL}, exclude_none=True)
    attacks = [config.attack for config in combinations if config.attack.name != NO_ATTACK]
    settings = [ATTACKS[attack.name].settings(**attack.settings).model_dump() for attack in attacks]
    whole["attack"] = {"name": combinations[0].attack.name, **agreed_settings(settings)}
    defences = agreed_settings(config.defence.settings for config in combinations)
    whole["defence"] = {"name": combinations[0].defence.name, **defences}
    if isinstance(raw.get(PROTOCOL), list):
        for path in apart:
            table, _, key = path.rpartition(".")
            (whole[table] if table else whole).pop(key, None)
    for key, value in raw.items():
        if key in tables and not isinstance(value, dict):
            whole[key]["name"] = value
        elif isinstance(value, dict):
            whole[key] = {**whole.get(key, {}), **value}
        else:
            whole[key] = value
    return whole
