"""The plan of a finished run with another attack, as `spikeleak attack` makes it."""

from __future__ import annotations

from collections.abc import Iterable

from attacks import ATTACKS
from fl_sim.config import Raw, override
from fl_sim.errors import ConfigError
from judges.plans.gradient_inversion import TABLES, make_plan
from judges.plans.protocol import without_said


def override_attack(raw: Raw, assignments: Iterable[str]) -> Raw:
    """Return `raw` with another attack: the run's settings of that attack, overridden by the assignments.

    An attack that the run does not have starts from its defaults.

    Raises:
        ConfigError: an assignment is malformed, or changes anything but the attack.
    """
    assignments = list(assignments)
    raw = without_said(raw, assignments, TABLES)
    rest = {key: value for key, value in raw.items() if key != "attack"}
    old = dict(make_plan(raw).raw["attack"])
    overridden = override({**rest, "attack": {}}, assignments, TABLES)
    new = overridden.pop("attack")
    if overridden != rest:
        raise ConfigError("--set: only attack settings can change here; for another federation start a new run.")
    known = old["name"] if isinstance(old["name"], list) else [old["name"]]
    name = new.get("name", old["name"])
    if name != old["name"]:
        entry = ATTACKS.get(name) if isinstance(name, str) and name in known else None
        old = {key: value for key, value in old.items() if entry and key in entry.settings.model_fields}
    return {**rest, "attack": {**old, **new}}
