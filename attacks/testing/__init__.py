"""Contract checks for authors of attacks; each check takes a name in a table, or an entry.

    from attacks.testing import check_attack

    def test_my_attack():
        check_attack("mine")

The attacks of this project are checked by the same functions. They need no test runner and attack small models on the
CPU within seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS, AttackEntry, InversionEntry, MembershipEntry
from attacks.testing.attacked import Attacked, Solves
from attacks.testing.gradients import ATTACK_PROMISES, COUNTERS
from attacks.testing.inversions import INVERSION_PROMISES, Inverted
from attacks.testing.memberships import MEMBERSHIP_PROMISES, Inferred
from attacks.testing.victims import LENET, MLP, SPIKING_LENET, TARGETS
from fl_sim.errors import unknown_name
from fl_sim.plugins import Table
from fl_sim.records import ModelSpec, Scalar
from fl_sim.testing.promises import keep_promises

Entry = TypeVar("Entry", AttackEntry, InversionEntry, MembershipEntry)

__all__ = [
    "ATTACK_PROMISES",
    "INVERSION_PROMISES",
    "MEMBERSHIP_PROMISES",
    "check_attack",
    "check_membership",
    "check_model_inversion",
]


def check_attack(
    attack: str | AttackEntry,
    *,
    settings: Mapping[str, Scalar] | None = None,
    models: Sequence[ModelSpec] = (LENET, SPIKING_LENET),
    counter: str | None = None,
    solves: tuple[int, float, Mapping[str, Scalar]] | None = None,
    only: Iterable[str] | None = None,
) -> None:
    """Check the promises of a gradient inversion.

    Args:
        attack: a name in the table, or an entry, whose attack must then be named "attack".
        settings: settings for all checks; missing ones have their defaults.
        models: models for which the attack is made, of which the first is used most; by default two of this project.
        counter: the setting that limits its steps; by default "iterations" or "steps" if it has one of these; "" for
            none.
        solves: (steps, error, settings): with this number of steps and these settings its median mean squared error on
            the first model, on random inputs in [0, 1], is below `error`; None to claim nothing.
        only: names in `ATTACK_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the attack or a promise is not known.
    """
    name, entry = _entry_of(attack, ATTACKS)
    fields = entry.settings.model_fields
    steps = next((key for key in COUNTERS if key in fields), "") if counter is None else counter
    claimed = Solves(*solves) if solves else None
    keep_promises(name, Attacked(name, entry, settings or {}, models, steps, claimed), ATTACK_PROMISES, only)


def check_model_inversion(
    attack: str | InversionEntry,
    *,
    settings: Mapping[str, Scalar] | None = None,
    models: Iterable[ModelSpec] | None = None,
    only: Iterable[str] | None = None,
) -> None:
    """Check the promises of a model inversion on each of several models.

    Args:
        attack: a name in the table, or an entry, whose attack must then be named "attack".
        settings: settings for all checks; missing ones have their defaults, but with four iterations.
        models: models for which the attack is made, with at least three classes; small ones of this project by default.
        only: names in `INVERSION_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the attack or a promise is not known.
    """
    name, entry = _entry_of(attack, MODEL_INVERSIONS)
    promises = None if only is None else list(only)
    for spec in TARGETS[entry.spiking].values() if models is None else models:
        keep_promises(name, Inverted(name, entry, settings or {}, spec), INVERSION_PROMISES, promises)


def check_membership(
    attack: str | MembershipEntry,
    *,
    settings: Mapping[str, Scalar] | None = None,
    models: Iterable[ModelSpec] = (MLP, SPIKING_LENET),
    only: Iterable[str] | None = None,
) -> None:
    """Check the promises of a membership inference on each of several models.

    Args:
        attack: a name in the table, or an entry, whose attack must then be named "attack".
        settings: settings for all checks; missing ones have their defaults, but with eight shadow models.
        models: models for which the attack is made, which draw nothing; small ones of this project by default.
        only: names in `MEMBERSHIP_PROMISES`; None for all.

    Raises:
        AssertionError: a promise is broken; one sentence says which one and how.
        ConfigError: the attack or a promise is not known.
    """
    name, entry = _entry_of(attack, MEMBERSHIP_INFERENCES)
    promises = None if only is None else list(only)
    for spec in models:
        keep_promises(name, Inferred(name, entry, settings or {}, spec), MEMBERSHIP_PROMISES, promises)


def _entry_of(attack: str | Entry, table: Table[Entry]) -> tuple[str, Entry]:
    """Return the name and the entry of the attack to check."""
    if not isinstance(attack, str):
        return "attack", attack
    if attack not in table:
        raise unknown_name("attack", attack, table)
    return attack, table[attack]
