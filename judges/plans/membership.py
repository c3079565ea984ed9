"""One experiment of membership inference: a config whose lists are the axes of a grid of targets and attacks.

Importing this imports neither torch nor Flower, so that a wrong config fails at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from attacks import MEMBERSHIP_INFERENCES
from attacks.membership.settings import ONLINE
from fl_sim.config import Raw, SimulationConfig, expand, validate
from fl_sim.config.defence import with_own_settings
from fl_sim.datasets.table import DATASETS
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.specs import Scalar, TrainingSettings
from judges.plans.base import (
    ExperimentBase,
    attacked,
    axes,
    checked_attack,
    names_defence,
    plan_digest,
    unit_digest,
    varying_settings,
)
from judges.runs.identity import Attacked
from judges.runs.names import attack_label, federation_label
from judges.runs.rows.classes import CENTRAL, FEDERATION

TASK = "membership"
TABLES = ("dataset", "model", "strategy", "defence", "attack", "training")
ONE_VALUE = (
    "name", "task", "target", "scale", "repeats", "repeat", "threads", "device", "candidates", "auxiliary",
    "federation.keep_every", "federation.capture_every",
)  # fmt: skip
"""Settings of the whole experiment, which cannot be lists."""


class MembershipConfig(ExperimentBase):
    """One combination of an experiment's axes.

    Attributes:
        task: the kind of experiment.
        target: how the targets are trained: "central", each on a random half of the candidates, or "federation", by the
            clients of a Flower federation, of which the global model after each kept round and the captured updates are
            attacked.
        training: training of central targets and of all shadow models.
        candidates: number of examples whose membership is asked for; half of them are members. Of a federation, half
            of it is the number of others, and the largest number of members.
        auxiliary: number of examples of other people that the adversary has, of which offline shadow models are trained
            on halves; 0 for as many as there are candidates, so that these halves are as large as the target's.
    """

    task: Literal["membership"] = "membership"
    target: Literal["central", "federation"] = "central"
    training: TrainingSettings = TrainingSettings()
    candidates: int = Field(default=2000, ge=20, le=1_000_000, multiple_of=2)
    auxiliary: int = Field(default=0, ge=0, le=1_000_000)

    @property
    def own(self) -> int:
        """Return the number of the adversary's own examples."""
        return self.auxiliary or self.candidates


@dataclass(frozen=True)
class MemberPlan:
    """Targets of one kind.

    Attributes:
        label: their name in folders.
        attacked: their columns in the rows.
        config: config of the target with the first seed.
    """

    label: str
    attacked: Attacked
    config: MembershipConfig

    @property
    def seeds(self) -> range:
        """Return the seeds of the targets."""
        return range(self.config.seed, self.config.seed + self.config.repeats)

    def name(self, seed: int) -> str:
        """Return the name of the target with a seed, in folders and in what attacks see, which tells no seed."""
        return f"{self.label}-{seed - self.config.seed:03d}"

    def simulation(self, seed: int) -> SimulationConfig:
        """Return the federation that trains the target with a seed: a repetition of the first one, as elsewhere."""
        fields = {name: getattr(self.config, name) for name in SimulationConfig.model_fields}
        return SimulationConfig(**{**fields, "repeat": seed - self.config.seed})


@dataclass(frozen=True)
class MembershipCell:
    """One attack on the targets of one kind.

    Attributes:
        target: label of the targets.
        label: name of the attack with the settings that vary.
        attack: name of the attack in the table.
        settings: settings of the attack.
        varied: the settings that vary.
    """

    target: str
    label: str
    attack: str
    settings: Mapping[str, Scalar]
    varied: Mapping[str, Scalar]

    @property
    def name(self) -> str:
        """Return its name in the plan."""
        return f"{self.target}/{self.label}"

    @property
    def all_settings(self) -> dict[str, Scalar]:
        """Return its settings, completed by the attack's defaults."""
        settings: dict[str, Scalar] = (
            MEMBERSHIP_INFERENCES[self.attack].settings.model_validate(dict(self.settings)).model_dump()
        )
        return settings

    @property
    def shadows(self) -> int:
        """Return the number of its shadow models; 0 if it uses none."""
        return int(self.all_settings["shadows"]) if MEMBERSHIP_INFERENCES[self.attack].shadows else 0

    @property
    def online(self) -> bool:
        """Return whether its shadow models are trained on candidates."""
        return self.all_settings.get("mode") == ONLINE


@dataclass(frozen=True)
class MembershipPlan:
    """A whole experiment.

    Attributes:
        raw: the config as read, completed by the settings that no axis varies.
        base: the first combination, from which settings that no axis varies are read.
        targets, cells: the grid, in the order of the config.
        units: {name of a cell: hash of all that it depends on}.
    """

    raw: Raw
    base: MembershipConfig
    targets: tuple[MemberPlan, ...]
    cells: tuple[MembershipCell, ...]
    units: Mapping[str, str]

    def attacks_on(self, target: MemberPlan) -> Sequence[MembershipCell]:
        """Return the attacks on the targets of one kind."""
        return [cell for cell in self.cells if cell.target == target.label]

    def shadows_of(self, target: MemberPlan) -> list[tuple[int, bool]]:
        """Return (number, whether online) of every shadow model of the attacks on targets of one kind."""
        most = {online: max((cell.shadows for cell in self.attacks_on(target) if cell.online == online), default=0)
                for online in (False, True)}  # fmt: skip
        return [(number, online) for online, count in most.items() for number in range(count)]

    @property
    def digest(self) -> str:
        """Return a hash of the config; see `plan_digest`."""
        return plan_digest(self.raw)


def make_membership_plan(raw: Raw) -> MembershipPlan:
    """Return the grid of targets and attacks that `raw` describes.

    Impossible combinations are left out: an attack on updates and a centrally trained model, shadow models that are
    trained on candidates and a federation, an ANN and recordings of events.

    Raises:
        ConfigError: a key is not known, a type is wrong, or no combination is possible.
    """
    varying = axes(raw, TABLES)
    for path in varying:
        if path in ONE_VALUE:
            raise ConfigError(f"{path}: is the same for the whole experiment, so it cannot be a list.")
    filled = dict(raw)
    filled["attack"] = {"name": list(MEMBERSHIP_INFERENCES.own), **_table(raw, "attack")}
    _refuse_unread(raw)
    targets: dict[str, MemberPlan] = {}
    cells: dict[str, MembershipCell] = {}
    units: dict[str, str] = {}
    for combination in expand(filled, TABLES):
        config = _checked(combination, filled)
        if not _fits(config):
            continue
        what = attacked(config, varying)
        target = MemberPlan(federation_label(what, defence=names_defence(config, varying)), what, config)
        known = targets.setdefault(target.label, target)
        if known.config.model_copy(update={"attack": config.attack}) != config:
            raise ConfigError(f"the grid names two different targets '{target.label}'; give one axis only.")
        varied = varying_settings("attack", config.attack.settings, varying)
        label = attack_label(config.attack.name, varied)
        cell = MembershipCell(target.label, label, config.attack.name, config.attack.settings, varied)
        cells[cell.name] = cell
        units[cell.name] = unit_digest(config, {"name": cell.attack, **cell.all_settings})
    if not cells:
        raise ConfigError("attack.name: none of the attacks is for any of these targets.")
    base = next(iter(targets.values())).config
    plain = {key: value for key, value in base.model_dump(exclude={"repeat"}).items() if not isinstance(value, dict)}
    return MembershipPlan({**plain, **raw}, base, tuple(targets.values()), tuple(cells.values()), units)


def _table(raw: Raw, key: str) -> Raw:
    """Return a table of a config; a plain value or a list means its name."""
    value = raw.get(key, {})
    return dict(value) if isinstance(value, dict) else {"name": value}


def _refuse_unread(raw: Raw) -> None:
    """Raise a ConfigError if the config has a table that the kind of target does not read."""
    target = raw.get("target", CENTRAL)
    for key in ("federation", "strategy", "defence", "client") if target == CENTRAL else ():
        if key in raw:
            raise ConfigError(f'{key}: is not read where target = "{target}".')


def _checked(combination: Raw, raw: Raw) -> MembershipConfig:
    """Return one combination as settings, with torch's initialisation, and every round of a federation kept."""
    model, training, federation = (_table(combination, key) for key in ("model", "training", "federation"))
    model = {"init": "torch", **model}
    tables: Raw = {"model": model, "training": training}
    if combination.get("target") == FEDERATION:
        tables["federation"] = {"keep_every": 1, **federation}
    config = validate(MembershipConfig, {**with_own_settings(combination, raw), **tables})
    if config.target == CENTRAL and config.dataset.split != "train":
        raise ConfigError("dataset.split: targets are trained on the train split, and tested on the other.")
    if config.target == CENTRAL and config.own < config.candidates // 2:
        raise ConfigError(
            f"auxiliary: expected at least half as many as there are candidates, {config.candidates // 2}, since the "
            f"control is a model trained on them, got {config.auxiliary}."
        )
    if config.target == FEDERATION and not config.federation.keep_every:
        raise ConfigError(
            "federation.keep_every: expected 1 or more, since the global models after the rounds are attacked, got 0."
        )
    if config.target == FEDERATION and not config.federation.capture_every:
        raise ConfigError(
            "federation.capture_every: expected 1 or more, since the sealed examples of captured updates are the "
            "members, got 0."
        )
    return config.model_copy(update={"attack": checked_attack(config.attack, raw, MEMBERSHIP_INFERENCES)})


def _fits(config: MembershipConfig) -> bool:
    """Return whether the attack suits the target, and the model the data."""
    entry, model = MEMBERSHIP_INFERENCES[config.attack.name], MODELS[config.model.name]
    central = config.target == CENTRAL
    possible = model.spiking or not DATASETS[config.dataset.name].events
    return possible and not (entry.updates if central else config.attack.settings.get("mode") == ONLINE)
