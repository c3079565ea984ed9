"""The contract of attacks, for whoever writes one: each check takes a name in a table, or an entry.

    from attacks.testing import check_attack

    def test_my_attack():
        check_attack("mine")

Every attack of ours is checked by the same functions. They need no test runner and attack small models on the CPU, in
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from attacks import ATTACKS, MODEL_INVERSIONS, AttackEntry, InversionEntry
from attacks.testing.gradients import ATTACK_PROMISES, COUNTERS, Attacked, Solves
from attacks.testing.inversions import INVERSION_PROMISES, Inverted
from attacks.testing.victims import LENET, SPIKING_LENET, TARGETS
from fl_sim.errors import unknown_name
from fl_sim.plugins import Table
from fl_sim.records import ModelSpec, Scalar
from fl_sim.testing.promises import keep_promises

Entry = TypeVar("Entry", AttackEntry, InversionEntry)

__all__ = ["ATTACK_PROMISES", "INVERSION_PROMISES", "check_attack", "check_model_inversion"]


def check_attack(
    attack: str | AttackEntry,
    *,
    settings: Mapping[str, Scalar] | None = None,
    models: Sequence[ModelSpec] = (LENET, SPIKING_LENET),
    counter: str | None = None,
    solves: tuple[int, float, Mapping[str, Scalar]] | None = None,
    only: Iterable[str] | None = None,
) -> None:
    """Check what every gradient inversion promises.

    Args:
        attack: a name in the table, or an entry, whose attack must then call itself "attack".
        settings: under which all is checked; its defaults for the rest.
        models: what it is made for, the first one checked the most; those of ours by default.
        counter: the setting that bounds its steps; "iterations" or "steps" where it has one of these, "" for none.
        solves: (steps, error, settings): with so many steps and these settings its median mean squared error on the
            first model, on random inputs in [0, 1], is below `error`; None where nothing is claimed.
        only: names in `ATTACK_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which and how.
        ConfigError: no such attack or promise.
    """
    name, entry = _found(attack, ATTACKS)
    known = entry.settings.model_fields
    steps = next((key for key in COUNTERS if key in known), "") if counter is None else counter
    claimed = Solves(*solves) if solves else None
    keep_promises(name, Attacked(name, entry, settings or {}, models, steps, claimed), ATTACK_PROMISES, only)


def check_model_inversion(
    attack: str | InversionEntry,
    *,
    settings: Mapping[str, Scalar] | None = None,
    models: Iterable[ModelSpec] | None = None,
    only: Iterable[str] | None = None,
) -> None:
    """Check what every model inversion promises, on each of several models.

    Args:
        attack: a name in the table, or an entry, whose attack must then call itself "attack".
        settings: under which all is checked; its defaults for the rest, and four iterations.
        models: what it is made for, of three classes or more; small ones of ours by default.
        only: names in `INVERSION_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which and how.
        ConfigError: no such attack or promise.
    """
    name, entry = _found(attack, MODEL_INVERSIONS)
    asked = None if only is None else list(only)
    for spec in TARGETS[entry.spiking].values() if models is None else models:
        keep_promises(name, Inverted(name, entry, settings or {}, spec), INVERSION_PROMISES, asked)


def _found(attack: str | Entry, table: Table[Entry]) -> tuple[str, Entry]:
    """Return the name and the entry of what is to be checked."""
    if not isinstance(attack, str):
        return "attack", attack
    if attack not in table:
        raise unknown_name("attack", attack, table)
    return attack, table[attack]
