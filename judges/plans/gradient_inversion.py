"""One experiment: a config whose lists are the axes of a grid of federations and attacks.

Nothing here imports torch or Flower, so that a bad config is refused at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from attacks import ATTACKS
from attacks.settings import POST, UNTHRESHOLDED
from fl_sim.config import Raw, SimulationConfig, expand, override, read_toml, validate
from fl_sim.config.defence import agreed_settings, with_own_settings
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.specs import Scalar, SpikingSpec
from judges.classifiers.settings import JudgeOptions
from judges.names import attack_label, axes, federation_label, variant
from judges.plans.base import NO_ATTACK, AttackSettings, ExperimentBase, checked_attack, unit_digest
from judges.plans.scales import scaled

TABLES = ("dataset", "model", "strategy", "defence", "attack", "judge")
ONE_VALUE = (
    "name", "scale", "repeats", "repeat", "threads", "device", "chunk", "class_distances", "dataset.root",
    "dataset.size", "dataset.time_bins", "dataset.window_ms", "dataset.polarity", "dataset.voxels", "dataset.bin_ms",
    "dataset.denoise_ms", "dataset.classes", "federation.keep_every",
    *(f"judge.{key}" for key in JudgeOptions.model_fields),
)  # fmt: skip
"""Settings of the whole experiment: a list of them would be read from its first value only."""


class ExperimentConfig(ExperimentBase):
    """One combination of an experiment's axes.

    Attributes:
        chunk: how many captures one call of an attack gets: what is lost at most where a run is killed, and what is
            done side by side. Another number changes the last digits, for the victims of a call share its sums.
        class_distances: how many examples of a data set are compared with each other for the table of distances inside
            and between classes; 0 for none.
        judge: which classifier says what a reconstruction shows.
    """

    chunk: int = Field(default=32, ge=1, le=100_000)
    class_distances: int = Field(default=0, ge=0, le=5000)
    judge: JudgeOptions = JudgeOptions()


@dataclass(frozen=True)
class Federation:
    """One federation of the grid, with its repetitions.

    Attributes:
        label: its name in folders.
        config: of repetition 0.
        repeats: how many there are.
        variant: what it varies besides data set, model and initialisation.
    """

    label: str
    config: SimulationConfig
    repeats: int
    variant: str = ""

    def repetition(self, repeat: int) -> tuple[str, SimulationConfig]:
        """Return the federation's id and config of one repetition."""
        return f"{self.label}-{repeat:03d}", self.config.model_copy(update={"repeat": repeat})


@dataclass(frozen=True)
class Cell:
    """One attack on one federation.

    Attributes:
        federation: label of the federation.
        label: name of the attack with its settings that vary.
        attack: its name in the table.
        settings: its settings.
        told: the label but for thresholding and threshold, which have columns of their own in the rows.
        source: label under which its reconstructions are kept. Cells that differ in post-optimisation thresholding
            share those of the attack without it.
    """

    federation: str
    label: str
    attack: str
    settings: Mapping[str, Scalar]
    told: str
    source: str

    @property
    def name(self) -> str:
        """Return what the rows call it."""
        return f"{self.federation}/{self.label}"

    @property
    def all_settings(self) -> dict[str, Scalar]:
        """Return its settings with the attack's defaults for what was not told."""
        settings: dict[str, Scalar] = ATTACKS[self.attack].settings(**self.settings).model_dump()
        return settings


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes:
        raw: the config as resolved: its lists, and every setting that it leaves to its default.
        base: settings that no axis varies are read from here.
        federations, cells: the grid, in the order of the config.
        units: {name of a cell, or label of a federation without any: hash of all that it depends on}.
    """

    raw: Raw
    base: ExperimentConfig
    federations: tuple[Federation, ...]
    cells: tuple[Cell, ...]
    units: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return a hash of the config; two runs with the same one are the same experiment."""
        return hashlib.sha256(json.dumps(self.raw, sort_keys=True).encode()).hexdigest()


def read_config(path: Path, assignments: Iterable[str], tables: Sequence[str]) -> Raw:
    """Return the config at `path` with "key=value" assignments applied, and under the scale that it names.

    A config may hold settings for several scales, [scales.NAME]; those of the one that its key `scale` names, or
    "scale=NAME" among the assignments, are put over the rest, and the scale is added to the name of the run.

    Args:
        path: of a TOML file.
        assignments: as they were given.
        tables: keys whose plain value means the table's `name`.

    Raises:
        ConfigError: as `fl_sim.config`, or no such scale.
    """
    raw = read_toml(path)
    raw.setdefault("name", path.stem)
    chosen = [assignment for assignment in assignments if assignment.partition("=")[0].strip() == "scale"]
    rest = [assignment for assignment in assignments if assignment not in chosen]
    return override(scaled(override(raw, chosen, ())), rest, tables)


def read_plan(path: Path, assignments: Iterable[str] = ()) -> Plan:
    """Return the plan of the config at `path`; see `read_config` and `make_plan`.

    Raises:
        ConfigError: as they do.
    """
    return make_plan(read_config(path, assignments, TABLES))


def make_plan(raw: Raw, *, named: Iterable[str] = ()) -> Plan:
    """Return the grid of federations and attacks that `raw` describes.

    Args:
        raw: a config as read.
        named: paths of further settings that the labels shall name beside those of the axes.

    Raises:
        ConfigError: an unknown key, a wrong type, an impossible pair.
    """
    varying = [*axes(raw, TABLES), *named]
    for path in varying:
        if path in ONE_VALUE:
            raise ConfigError(f"{path}: is the same for the whole experiment, so it cannot be a list.")
    combinations = [_checked(combination, raw) for combination in expand(raw, TABLES)]
    federations: dict[str, Federation] = {}
    cells: dict[str, Cell] = {}
    units: dict[str, str] = {}
    for config in combinations:
        simulation = _simulation(config)
        label = federation_label(simulation, varying)
        fresh = Federation(label, simulation, config.repeats, variant(simulation, varying))
        known = federations.setdefault(label, fresh)
        if known.config != simulation:
            raise ConfigError(f"the grid names two different federations '{label}'; give one axis only.")
        told = config.model_copy(update={name: getattr(simulation, name) for name in SimulationConfig.model_fields})
        if config.attack.name == NO_ATTACK:
            units[label] = unit_digest(told, {})
            continue
        cell = _cell(label, config.attack, varying)
        cells[cell.name] = cell
        units[cell.name] = unit_digest(told, {"name": cell.attack, **cell.all_settings})
    raw = _resolved(raw, combinations)
    return Plan(raw, combinations[0], tuple(federations.values()), tuple(cells.values()), units)


def _cell(federation: str, attack: AttackSettings, varying: Iterable[str]) -> Cell:
    """Return a cell; settings of thresholding count for nothing where there is none."""
    settings = attack.settings
    plain = {key: value for key, value in settings.items() if key not in ("thresholding", "tau")}
    told = attack_label(attack.name, plain, varying)
    if settings.get("thresholding", UNTHRESHOLDED) == UNTHRESHOLDED:
        return Cell(federation, told, attack.name, plain, told, told)
    label = attack_label(attack.name, settings, varying)
    source = told if settings["thresholding"] == POST else label
    return Cell(federation, label, attack.name, settings, told, source)


def _resolved(raw: Raw, combinations: Sequence[ExperimentConfig]) -> Raw:
    """Return `raw` with every setting that it leaves to its default and that is the same wherever it is read."""
    resolved = combinations[0].model_dump(exclude={"repeat"})
    attacks = [config.attack for config in combinations if config.attack.name != NO_ATTACK]
    settings = [ATTACKS[attack.name].settings(**attack.settings).model_dump() for attack in attacks]
    resolved["attack"] = {"name": combinations[0].attack.name, **agreed_settings(settings)}
    defences = agreed_settings(config.defence.settings for config in combinations)
    resolved["defence"] = {"name": combinations[0].defence.name, **defences}
    for key, value in raw.items():
        if key in TABLES and not isinstance(value, dict):
            resolved[key]["name"] = value
        elif isinstance(value, dict):
            resolved[key] |= value
        else:
            resolved[key] = value
    return resolved


def override_attack(raw: Raw, assignments: Iterable[str]) -> Raw:
    """Return `raw` with another attack: what the assignments say, on top of the run's own settings of that attack.

    An attack that the run does not have starts from its defaults.

    Raises:
        ConfigError: an assignment is malformed, or changes anything but the attack.
    """
    kept = {key: value for key, value in raw.items() if key != "attack"}
    old = dict(make_plan(raw).raw["attack"])
    told = override({**kept, "attack": {}}, assignments, TABLES)
    new = told.pop("attack")
    if told != kept:
        raise ConfigError("--set: only attack settings can change here; for another federation start a new run.")
    known = old["name"] if isinstance(old["name"], list) else [old["name"]]
    name = new.get("name", old["name"])
    if name != old["name"]:
        entry = ATTACKS.get(name) if isinstance(name, str) and name in known else None
        old = {key: value for key, value in old.items() if entry and key in entry.settings.model_fields}
    return {**kept, "attack": {**old, **new}}


def _checked(combination: Raw, raw: Raw) -> ExperimentConfig:
    """Return one combination as settings, without the keys of another attack or defence of the same experiment."""
    config = validate(ExperimentConfig, with_own_settings(combination, raw))
    return config.model_copy(update={"attack": checked_attack(config.attack, raw, ATTACKS, NO_ATTACK)})


def _simulation(config: ExperimentConfig) -> SimulationConfig:
    """Return the federation's part of a combination; spiking settings that an ANN does not read are the defaults."""
    fields = {name: getattr(config, name) for name in SimulationConfig.model_fields}
    if not MODELS[config.model.name].spiking:
        fields["model"] = config.model.model_copy(update=SpikingSpec().model_dump())
    return SimulationConfig(**fields)
