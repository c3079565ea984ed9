"""One experiment over rounds: several threats to the same federations, from the initial model to the trained one.

Its config is that of a federation, with a table for each threat that names attacks and their settings. Of it follows
one plan for each threat, of the kind of experiment that the threat is. Importing this imports neither torch nor Flower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fl_sim.config import DatasetSettings, ModelSettings, Raw
from fl_sim.errors import ConfigError, nearest
from fl_sim.specs import Framing, Scalar, Settings
from judges.plans import gradient_inversion, membership, model_inversion
from judges.plans.base import AttackSettings, plan_digest
from judges.plans.gradient_inversion import Plan, make_plan
from judges.plans.keys import tables_of
from judges.plans.membership import MembershipPlan, make_membership_plan
from judges.plans.model_inversion import InversionPlan, make_inversion_plan
from judges.runs.manifest import THREATS
from judges.runs.rows.classes import FEDERATION

TASK = "rounds"
TABLES = ("dataset", "model", "strategy", "defence", "judge", *THREATS)
AnyPlan = Plan | InversionPlan | MembershipPlan


class RoundsKeys(Settings):
    """What only an experiment over rounds has; all other keys are those of the threats' own kinds of experiment.

    Attributes:
        task: the kind of experiment.
        gradient_inversion: the attacks on the clients' updates, and their settings.
        model_inversion: the attacks on the global models, and their settings.
        membership: the attacks that ask who was in the training, and their settings.
    """

    task: Literal["rounds"] = "rounds"
    gradient_inversion: AttackSettings = AttackSettings()
    model_inversion: AttackSettings = AttackSettings()
    membership: AttackSettings = AttackSettings()


@dataclass(frozen=True)
class Threat:
    """How the config of a threat's own kind of experiment follows from that of an experiment over rounds.

    Attributes:
        config: class of its settings.
        tables: keys whose plain value means the table's `name`.
        plan: what makes the plan of its config.
        says: keys that it has besides.
        unread: keys of its kind that are for other targets than federations.
    """

    config: type[Settings]
    tables: tuple[str, ...]
    plan: Callable[[Raw], AnyPlan]
    says: Mapping[str, Scalar]
    unread: tuple[str, ...] = ()


_THREATS: Mapping[str, Threat] = {
    "gradient_inversion": Threat(gradient_inversion.ExperimentConfig, gradient_inversion.TABLES, make_plan, {}),
    "membership": Threat(
        membership.MembershipConfig,
        membership.TABLES,
        make_membership_plan,
        {"task": membership.TASK, "target": FEDERATION},
    ),
    "model_inversion": Threat(
        model_inversion.InversionConfig,
        model_inversion.TABLES,
        make_inversion_plan,
        {"task": model_inversion.TASK, "target": FEDERATION},
        ("training",),
    ),
}
"""{table of the config, and folder of the run: the threat}. The first one of a config trains the federations, so that
those which need captures precede the one that needs models only."""

_NOT_HERE = {"attack", "repeat", "target", "protocol", "ladder"}
"""Keys of the threats' kinds of experiment that have no place here: each threat has attacks of its own."""


@dataclass(frozen=True)
class RoundsPlan:
    """A whole experiment over rounds.

    Attributes:
        raw: the config as read.
        parts: {threat: its plan}, in the order of `_THREATS`.
    """

    raw: Raw
    parts: Mapping[str, AnyPlan]

    @property
    def base(self) -> Any:  # noqa: ANN401 - the settings of the first threat's kind
        """Return the settings that no axis varies, as far as the threats share them."""
        return next(iter(self.parts.values())).base

    @property
    def units(self) -> Mapping[str, str]:
        """Return {threat and cell: hash of all that it depends on}."""
        return {
            f"{threat}: {cell}": digest for threat, plan in self.parts.items() for cell, digest in plan.units.items()
        }

    @property
    def digest(self) -> str:
        """Return a hash of the config."""
        return plan_digest(self.raw)


def make_rounds_plan(raw: Raw) -> RoundsPlan:
    """Return the plans of all threats that a config names by their tables.

    Raises:
        ConfigError: no threat is named, a key is not known to any of them, nothing is kept or captured, or a plan is
            wrong or of other federations than that of the first threat.
    """
    if raw.get("task") != TASK:
        raise ConfigError(f'task: expected "{TASK}", got {raw.get("task")!r}.')
    named = [threat for threat in _THREATS if threat in raw]
    if not named:
        raise ConfigError(
            f'task: "{TASK}" needs a table for each threat that names its attacks: expected one of '
            f"{', '.join(f'[{threat}]' for threat in _THREATS)}, found none."
        )
    _refuse_unknown(raw, named)
    parts: dict[str, AnyPlan] = {}
    for threat in named:
        try:
            parts[threat] = _THREATS[threat].plan(_config_of(threat, raw))
        except ConfigError as error:
            where, _, told = str(error).partition("attack")
            raise ConfigError(f"{threat}{told}" if told and not where else str(error)) from error
        if not parts[threat].base.federation.keep_every:
            raise ConfigError(
                "federation.keep_every: 0 keeps the last model only, and this experiment follows the global model over "
                "the rounds; say how many rounds lie between two kept models."
            )
    _refuse_others(parts)
    return RoundsPlan(raw, parts)


def _config_of(threat: str, raw: Raw) -> Raw:
    """Return the config of a threat's own kind of experiment: the keys that it reads, and the threat's attacks.

    What a kind leaves to the authors of its attacks, such as neurons, is said, so that all speak of one federation.
    """
    one, own = _THREATS[threat], {key: value for key, value in raw.items() if key not in ("task", *_THREATS)}
    known = tables_of(one.config)
    kept: Raw = {}
    for key, value in own.items():
        if key not in one.config.model_fields or key in one.unread:
            continue
        fields = known[key].model_fields if key in known and key == "judge" else {}
        table = isinstance(value, dict) and fields
        kept[key] = {name: item for name, item in value.items() if name in fields} if table else value
    if isinstance(kept.get("judge"), str) and ("judge" not in known or "name" not in known["judge"].model_fields):
        del kept["judge"]
    framing = DatasetSettings().model_dump(include=set(Framing.model_fields))
    kept["model"] = {**ModelSettings().model_dump(exclude={"name"}), **_named(raw.get("model", {}))}
    kept["dataset"] = {**framing, **_named(raw.get("dataset", {}))}
    return {**kept, **one.says, "attack": _named(raw[threat])}


def _named(value: Any) -> Raw:  # noqa: ANN401 - a table, or its name or names
    """Return a table of a config; a plain value means its name."""
    return dict(value) if isinstance(value, dict) else {"name": value}


def _refuse_unknown(raw: Raw, threats: Iterable[str]) -> None:
    """Raise a ConfigError if none of the threats reads a key."""
    read = {key for one in threats for key in {*_THREATS[one].config.model_fields} - {*_THREATS[one].unread}}
    known = {"task", *_THREATS, *read} - _NOT_HERE
    for key in raw:
        if key not in known:
            raise ConfigError(f"{key}: unknown key.{nearest(key, known)} Known: {', '.join(sorted(known))}.")
    judge = raw.get("judge", {})
    tables = [tables_of(_THREATS[one].config) for one in threats]
    fields = {name for own in tables if "judge" in own for name in own["judge"].model_fields}
    for key in judge if isinstance(judge, dict) else ():
        if key not in fields:
            raise ConfigError(f"judge.{key}: unknown key.{nearest(key, fields)} Known: {', '.join(sorted(fields))}.")


def _refuse_others(parts: Mapping[str, AnyPlan]) -> None:
    """Raise a ConfigError if the threats are not all to the same federations."""
    first, *others = parts
    trained = dict(_federations(parts[first]))
    for threat in others:
        for label, config in _federations(parts[threat]):
            if trained.get(label) != config:
                raise ConfigError(
                    f"{threat}: is about a federation '{label}' that {first} does not attack as well, and one report "
                    "over rounds is about the same federations."
                )


def _federations(plan: AnyPlan) -> Iterator[tuple[str, object]]:
    """Yield the label and the config of the first repetition of each federation of a plan."""
    if isinstance(plan, Plan):
        yield from ((one.label, one.config) for one in plan.federations)
    else:
        yield from ((one.label, gradient_inversion.simulation_of(one.config)) for one in plan.targets)


def names_of(plan: AnyPlan) -> dict[tuple[str, int], str]:
    """Return {(label, repetition): name of the federation in the folder of a threat}."""
    if isinstance(plan, Plan):
        return {(one.label, at): one.repetition(at)[0] for one in plan.federations for at in range(one.repeats)}
    if isinstance(plan, MembershipPlan):
        return {(one.label, at): one.name(seed) for one in plan.targets for at, seed in enumerate(one.seeds)}
    return {(one.label, at): one.federation(seed) for one in plan.targets for at, seed in enumerate(one.seeds)}
