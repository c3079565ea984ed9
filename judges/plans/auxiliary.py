"""Auxiliary data in plans: which examples of other people an attack is given. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

from attacks import ATTACKS
from attacks.settings import NO_AUXILIARY, OWN, PUBLIC, AuxiliarySettings
from fl_sim.config import DatasetSettings
from fl_sim.datasets import DATASETS
from fl_sim.datasets.table import constants_of
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.specs import Scalar
from judges.plans.base import AttackSettings

KEY = "attack.auxiliary"


def auxiliary_name(settings: Mapping[str, Scalar]) -> str:
    """Return the auxiliary data that an attack's settings, all of them, name: "mnist train 4000"; "" for none."""
    name = settings.get("auxiliary", NO_AUXILIARY)
    if name in (NO_AUXILIARY, PUBLIC):
        return "" if name == NO_AUXILIARY else f"{PUBLIC} {settings['auxiliary_count']}"
    return f"{name} {settings['auxiliary_split']} {settings['auxiliary_count']}"


def checked_auxiliary(
    attack: AttackSettings, victims: DatasetSettings | None, *, public: str | None = None
) -> AttackSettings:
    """Return an attack's settings, in an audit with its public pictures where no other auxiliary data are named.

    Args:
        attack: its settings, which are known to be valid otherwise.
        victims: the data of the clients; None if they are not known.
        public: folder of the public pictures of an audit, "" if there are none; None outside audits.

    Raises:
        ConfigError: the attack needs auxiliary data and has none; they are not in the table; or they are the victims'
            own, which are the same data but for the other split of the same data set.
    """
    entry = ATTACKS[attack.name]
    if not issubclass(entry.settings, AuxiliarySettings):
        return attack
    if public and "auxiliary" not in attack.settings:
        attack = AttackSettings(name=attack.name, **{**attack.settings, "auxiliary": PUBLIC})
    attack = _named(attack, entry.settings(**attack.settings), victims)
    settings = entry.settings(**attack.settings)
    name, split = settings.auxiliary, settings.auxiliary_split
    if name == NO_AUXILIARY:
        if entry.needs_auxiliary or getattr(settings, "adversary", "auto") == "D":
            more = "" if public is None else ", or give public pictures of the same kind with --public FOLDER"
            raise ConfigError(
                f"{KEY}: '{attack.name}' learns from examples of other people than the victims; name a data set whose "
                f"inputs have the same shape, such as --set {KEY}=digits{more}."
            )
    elif name == PUBLIC:
        if not public:
            raise ConfigError(f"{KEY}: '{PUBLIC}' are the pictures that an audit gets with --public FOLDER.")
    elif name not in DATASETS:
        raise unknown_name(KEY, name, [*DATASETS, NO_AUXILIARY])
    elif victims is not None and _are_victims(victims, name, split):
        other = "test" if victims.split == "train" else "train"
        raise ConfigError(
            f"{KEY}: the {split} split of '{name}' may hold the victims' own examples, since the clients hold the "
            f"{victims.split} split of '{victims.name}' (dataset.split). Set attack.auxiliary_split or dataset.split, "
            f"such that the adversary has the {other} split of '{victims.name}', or name other data."
        )
    return attack


def _named(attack: AttackSettings, settings: AuxiliarySettings, victims: DatasetSettings | None) -> AttackSettings:
    """Return an attack's settings with the name of its auxiliary data: none for an adversary who has none.

    Raises:
        ConfigError: they are of the clients' own data set, and that is not known.
    """
    if not settings.uses_auxiliary:
        given = {"auxiliary": NO_AUXILIARY} if settings.auxiliary != NO_AUXILIARY else {}
    elif settings.auxiliary != OWN:
        given = {}
    elif victims is None:
        raise ConfigError(f"{KEY}: '{OWN}' is the clients' own data set, so name it: --set dataset=NAME.")
    else:
        given = {"auxiliary": victims.name, "auxiliary_split": "test" if victims.split == "train" else "train"}
    return AttackSettings(name=attack.name, **{**attack.settings, **given})


def _are_victims(victims: DatasetSettings, name: str, split: str) -> bool:
    """Return whether auxiliary data may hold the victims' examples: data sets that share constants share examples."""
    if name == victims.name:
        return split == victims.split
    return constants_of(name) == constants_of(victims.name)
