"""Common parts of the plans of all kinds of experiment: settings, axes, hashes, and the check of attacks' settings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

from attacks import ATTACKS, AttackEntry, InversionEntry, MembershipEntry
from fl_sim.config import Raw, SimulationConfig
from fl_sim.config.defence import agreed_settings
from fl_sim.config.federation import EACH_CLIENT
from fl_sim.defences import NO_DEFENCE
from fl_sim.errors import ConfigError, nearest, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import Scalar, Settings
from fl_sim.validation import explain
from judges.runs.identity import PROTOCOL, Attacked

NO_ATTACK = "none"
APART = ("checks", "ladder", "transfer", "threats", "model_inversion", "membership")
"""Keys of a config for what is made beside the answers, which stay the same."""
LATER: Mapping[str, Mapping[str, Scalar]] = {
    "": {"shadow_training": "central"},
    "dataset": {"channels": 0, "singles": 0, "test_split": "of each class"},
    "defence": {"local_affine": False, "sampling": "shuffled", "tell_sizes": False},
    "federation": {"capture_most": 0, "observer": EACH_CLIENT, "summed_clients": 0},
}
"""{table: {key: default}}, "" for no table, of keys that came after experiments had been run without them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class AttackSettings(Settings):
    """The attack and its settings; every key except `name` is a setting of the attack (see the package `attacks`).

    "none" only captures updates.

    Attributes:
        name: in the table `attacks.ATTACKS`, `attacks.MODEL_INVERSIONS` for model inversion, or
            `attacks.MEMBERSHIP_INFERENCES` for membership inference; "none" for no attack.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = "idlg"  # or NO_ATTACK

    @property
    def settings(self) -> dict[str, Any]:
        """Return the arguments of the attack's constructor."""
        return dict(self.model_extra or {})


class LadderSettings(Settings):
    """The same clients once more, from the attacker's best case to their own setting, in the folder ladder/.

    Attributes:
        examples: number of examples that are attacked on each rung, those of whole clients; 0 for no ladder.
    """

    examples: int = Field(default=0, ge=0, le=1000)


_DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,3})?")


def device_of(text: str) -> str:
    """Return the name of a device as torch has it; a ValueError if it is none. Whether it exists is not asked here."""
    if not _DEVICE.fullmatch(text):
        raise ValueError(f"expected cpu, cuda, cuda:N or mps, got {text!r}.{nearest(text, ('cpu', 'cuda', 'mps'))}")
    return text


Device = Annotated[str, pydantic.AfterValidator(device_of)]
"""Where to compute: cpu, cuda, cuda:N or mps."""


AttackTable = Mapping[str, AttackEntry] | Mapping[str, InversionEntry] | Mapping[str, MembershipEntry]
"""Attacks of one kind, by name."""


class ExperimentBase(SimulationConfig):
    """One combination of the axes of any experiment.

    Attributes:
        name: name of the experiment; its results go to runs/NAME.
        scale: the chosen one of the config's scales, see `judges.plans.reading`; "" if it has none.
        repeats: number of federations, or of centrally trained targets, for each combination, each with its own initial
            model and batches.
        threads: torch threads of the attacks; results are reproducible bit for bit with the same number.
        device: where attacks and judges compute.
        attack: the attack.
    """

    name: str
    scale: str = ""
    repeats: int = Field(default=1, ge=1, le=10_000)
    threads: int = Field(default=1, ge=1)
    device: Device = "cpu"
    attack: AttackSettings = AttackSettings()

    @pydantic.field_validator("name")
    @classmethod
    def _safe(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a folder: use up to 80 letters, digits, '.', '_' and '-'")
        return name

    @pydantic.field_validator("repeat")
    @classmethod
    def _counted(cls, repeat: int) -> int:
        if repeat:
            raise ValueError("an experiment counts its repetitions itself; say how many with repeats")
        return repeat


def checked_attack(
    attack: AttackSettings,
    raw: Raw,
    table: AttackTable,
    *others: str,
) -> AttackSettings:
    """Return an attack's settings without the keys that belong to another attack of the same experiment.

    Args:
        attack: the attack of one combination.
        raw: the config as read, which names all attacks of the experiment.
        table: the attacks that may be named.
        others: names of further attacks, which have no settings.

    Raises:
        ConfigError: the attack or a key is not known, or a value is wrong.
    """
    name = attack.name
    if name not in (*table, *others):
        raise unknown_name("attack.name", name, [*table, *others], addable=True)
    names = _named(raw, name)
    if name in others and not isinstance(names, list) and attack.settings:
        raise ConfigError(f"attack.name: '{name}' reads no settings; leave out {', '.join(attack.settings)}.")
    allowed = attack_keys(raw, table, name)
    for key in attack.settings:
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise ConfigError(f"attack.{key}: unknown key.{nearest(key, [*allowed, 'name'])} Known: name, {known}.")
    if name in others:
        return AttackSettings(name=name)
    own = table[name].settings
    settings = {key: value for key, value in attack.settings.items() if key in own.model_fields}
    try:
        own(**settings)
    except pydantic.ValidationError as error:
        raise ConfigError(f"attack.{explain(own, error)}") from error
    return AttackSettings(name=name, **settings)


def attack_keys(raw: Raw, table: AttackTable, default: str = "") -> set[str]:
    """Return the setting keys of all attacks that a config names, or of the default where it names none."""
    names = _named(raw, default)
    return {key for one in (names if isinstance(names, list) else [names])
            if isinstance(one, str) and one in table
            for key in table[one].settings.model_fields}  # fmt: skip


def _named(raw: Raw, default: str) -> object:
    """Return the name or the list of names of the attacks of a config."""
    attacks = raw.get("attack", default)
    return attacks.get("name", default) if isinstance(attacks, dict) else attacks


def unit_digest(config: Settings, attack: Mapping[str, Any]) -> str:
    """Return a hash of all that the results of one cell depend on, except code and data.

    What is made beside the answers is left out, see `APART`, and the protocol, which is but a word for settings.

    Args:
        config: config of the combination.
        attack: name and all settings of its attack; {} for no attack.
    """
    return plan_digest({**config.model_dump(mode="json", exclude={"attack", PROTOCOL, *APART}), "attack": dict(attack)})


def plan_digest(raw: Raw) -> str:
    """Return a hash of a config; runs of configs with the same hash are the same experiment.

    Keys that came later are left out where they have their default, so that experiments keep their hash.
    """
    return hashlib.sha256(json.dumps(_without_later(raw), sort_keys=True).encode()).hexdigest()


def _without_later(raw: Raw) -> Raw:
    kept = {key: dict(value) if isinstance(value, Mapping) else value for key, value in raw.items()}
    for table, own in LATER.items():
        inner = kept.get(table) if table else kept
        for key, default in own.items():
            if isinstance(inner, dict) and inner.get(key) == default:
                del inner[key]
    return kept


def axes(raw: Raw, tables: Iterable[str]) -> list[str]:
    """Return the paths of the lists in a config."""
    paths = []
    for key, value in raw.items():
        inner = value if isinstance(value, dict) else {"name" if key in tables else "": value}
        paths += [f"{key}.{name}".rstrip(".") for name, item in inner.items() if isinstance(item, list)]
    return paths


def varying_settings(table: str, settings: Mapping[str, Scalar], varying: Iterable[str]) -> dict[str, Scalar]:
    """Return the settings of a table that vary, by key, in the order of the axes."""
    keys = [path.removeprefix(f"{table}.") for path in varying if path.startswith(f"{table}.")]
    return {key: settings[key] for key in keys if key in settings}


def attacked(config: SimulationConfig, varying: Sequence[str]) -> Attacked:
    """Return the subject of attacks on a federation or a training, in columns.

    Args:
        config: config of the federation or training.
        varying: paths of the axes of the experiment.
    """
    entry = MODELS[config.model.name]
    varied: dict[str, Scalar] = {}
    for path in varying:
        table, _, key = path.rpartition(".")
        has_column = path in ("dataset.name", "model.name", "model.init") or table in ("attack", "defence")
        if has_column or path == "attack" or (table == "model" and not entry.spiking):
            continue
        varied[path if key in varied else key] = getattr(getattr(config, table) if table else config, key)
    return Attacked(
        dataset=config.dataset.name,
        model=config.model.name,
        family=entry.family or config.model.name,
        spiking=entry.spiking,
        varied=varied,
        init=config.model.init,
        defence=config.defence.name,
        defence_settings=varying_settings("defence", config.defence.settings, varying),
    )


def names_defence(config: SimulationConfig, varying: Iterable[str]) -> bool:
    """Return whether a federation's name includes the defence, because this or another federation has one."""
    return config.defence.name != NO_DEFENCE or "defence.name" in varying


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
