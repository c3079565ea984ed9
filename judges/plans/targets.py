"""Grids of targets and of attacks on them: what plans of model inversion and of membership inference share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from attacks import entry_of
from fl_sim.config import Raw, SimulationConfig, expand
from fl_sim.errors import ConfigError
from fl_sim.plugins import Table
from fl_sim.specs import Scalar
from judges.plans.base import (
    APART,
    ExperimentBase,
    attacked,
    axes,
    names_defence,
    plan_digest,
    unit_digest,
    varying_settings,
)
from judges.runs.identity import Attacked
from judges.runs.names import attack_label, federation_label

Config = TypeVar("Config", bound=ExperimentBase)


@dataclass(frozen=True)
class Targets(Generic[Config]):
    """Targets of one kind.

    Attributes:
        label: their name in folders.
        attacked: their columns in the rows.
        config: config of the target with the first seed.
    """

    label: str
    attacked: Attacked
    config: Config

    @property
    def seeds(self) -> range:
        """Return the seeds of the targets."""
        return range(self.config.seed, self.config.seed + self.config.repeats)

    def simulation(self, seed: int) -> SimulationConfig:
        """Return the federation that trains the target with a seed: a repetition of the first one, as elsewhere."""
        fields = {name: getattr(self.config, name) for name in SimulationConfig.model_fields}
        return SimulationConfig(**{**fields, "repeat": seed - self.config.seed})


@dataclass(frozen=True)
class TargetCell:
    """One attack on the targets of one kind.

    Attributes:
        target: label of the targets.
        label: name of the attack with the settings that vary.
        attack: name of the attack in its table.
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
        """Return its name in the plan, and in the rows unless these tell rounds apart."""
        return f"{self.target}/{self.label}"

    @property
    def all_settings(self) -> dict[str, Scalar]:
        """Return its settings, completed by those of a preset and by the attack's defaults."""
        settings: dict[str, Scalar] = entry_of(self.attack).settings.model_validate(dict(self.settings)).model_dump()
        return settings


Kind = TypeVar("Kind", bound=Targets[Any])
Cell = TypeVar("Cell", bound=TargetCell)


@dataclass(frozen=True)
class TargetGrid(Generic[Config, Kind, Cell]):
    """A whole experiment.

    Attributes:
        raw: the config as read, completed by the settings that no axis varies.
        base: the first combination, from which settings that no axis varies are read.
        targets, cells: the grid, in the order of the config.
        units: {name of a cell: hash of all that it depends on}.
    """

    raw: Raw
    base: Config
    targets: tuple[Kind, ...]
    cells: tuple[Cell, ...]
    units: Mapping[str, str]

    def attacks_on(self, target: Kind) -> Sequence[Cell]:
        """Return the attacks on the targets of one kind."""
        return [cell for cell in self.cells if cell.target == target.label]

    @property
    def digest(self) -> str:
        """Return a hash of the config; see `plan_digest`."""
        return plan_digest(self.raw)


def table_of(raw: Raw, key: str) -> Raw:
    """Return a table of a config; a plain value or a list means its name."""
    value = raw.get(key, {})
    return dict(value) if isinstance(value, dict) else {"name": value}


def grid_of(
    raw: Raw,
    *,
    attacks: Table[Any],
    tables: Sequence[str],
    one_value: Callable[[str], bool],
    checked: Callable[[Raw, Raw], Config],
    fits: Callable[[Config], bool],
    target: Callable[[str, Attacked, Config], Kind],
    cell: Callable[[str, str, str, Mapping[str, Scalar], Mapping[str, Scalar]], Cell],
) -> tuple[Raw, Config, tuple[Kind, ...], tuple[Cell, ...], Mapping[str, str]]:
    """Return the fields of the `TargetGrid` that `raw` describes; impossible combinations are left out.

    Args:
        raw: a config as read.
        attacks: table of the attacks, of which all of the project's own are tried unless the config names some.
        tables: keys whose plain value means the table's `name`.
        one_value: whether the setting at a path cannot be a list.
        checked: returns a combination of `raw`, the second argument, as settings.
        fits: whether the attack of a combination suits its target.
        target, cell: make targets of one kind, and an attack on them, from the fields of `Targets` and `TargetCell`.

    Raises:
        ConfigError: a key is not known, a type is wrong, or no combination is possible.
    """
    varying = axes(raw, tables)
    for path in varying:
        if one_value(path):
            raise ConfigError(f"{path}: is the same for the whole experiment, so it cannot be a list.")
    filled = {**raw, "attack": {"name": list(attacks.own), **table_of(raw, "attack")}}
    targets: dict[str, Kind] = {}
    cells: dict[str, Cell] = {}
    units: dict[str, str] = {}
    for config in filter(fits, (checked(combination, filled) for combination in expand(filled, tables))):
        what = attacked(config, varying)
        own = target(federation_label(what, defence=names_defence(config, varying)), what, config)
        known = targets.setdefault(own.label, own)
        if known.config.model_copy(update={"attack": config.attack}) != config:
            raise ConfigError(f"the grid names two different targets '{own.label}'; give one axis only.")
        name, settings = config.attack.name, config.attack.settings
        varied = varying_settings("attack", settings, varying)
        made = cell(own.label, attack_label(name, varied), name, settings, varied)
        cells[made.name] = made
        units[made.name] = unit_digest(config, {"name": name, **made.all_settings})
    if not cells:
        raise ConfigError("attack.name: none of the attacks is for any of these targets.")
    base: Config = next(iter(targets.values())).config
    told = base.model_dump(exclude={"repeat", *APART})
    plain = {key: value for key, value in told.items() if not isinstance(value, dict)}
    return {**plain, **raw}, base, tuple(targets.values()), tuple(cells.values()), units
