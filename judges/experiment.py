"""One experiment: a config whose lists are the axes of a grid of federations and attacks.

Nothing here imports torch or Flower, so that a bad config is refused at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from attacks import ATTACKS
from attacks.settings import POST, UNTHRESHOLDED
from fl_sim.config import Raw, SimulationConfig, expand, explain, override, read_toml, validate
from fl_sim.errors import ConfigError, nearest, unknown_name
from fl_sim.models import MODELS
from fl_sim.specs import Scalar, Settings, SpikingSpec
from judges.classifiers.settings import JudgeOptions
from judges.labels import attack_label, axes, federation_label, variant
from judges.scales import scaled

TABLES = ("dataset", "model", "strategy", "attack", "judge")
ONE_VALUE = (
    "name", "scale", "repeats", "repeat", "threads", "device", "class_distances", "dataset.root", "dataset.size",
    "dataset.time_bins", "dataset.window_ms", "dataset.polarity", "dataset.voxels",
    *(f"judge.{key}" for key in JudgeOptions.model_fields),
)  # fmt: skip
"""Settings of the whole experiment: a list of them would be read from its first value only."""
NO_ATTACK = "none"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class AttackSettings(Settings):
    """Which attack, and its settings; every key but `name` is the attack's own (see `attacks/settings.py`).

    "none" leaves it at the captures.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow", strict=True)
    name: str = "idlg"  # or NO_ATTACK

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that the attack's constructor gets."""
        return dict(self.model_extra or {})


class ExperimentConfig(SimulationConfig):
    """One combination of an experiment's axes.

    Attributes:
        name: of the experiment; its results go to runs/NAME.
        scale: which of the config's scales was chosen, see `read_plan`; "" where it has none.
        repeats: federations for each combination, each with its own initial model and batches.
        threads: torch threads of the attacks; results are reproducible bit for bit under the same number.
        device: where attacks and judges compute.
        class_distances: how many examples of a data set are compared with each other for the table of distances inside
            and between classes; 0 for none.
    """

    name: str
    scale: str = ""
    repeats: int = Field(default=1, ge=1, le=10_000)
    threads: int = Field(default=1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    class_distances: int = Field(default=0, ge=0, le=5000)
    attack: AttackSettings = AttackSettings()
    judge: JudgeOptions = JudgeOptions()

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


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes:
        raw: the config as resolved: its lists, and every setting that it leaves to its default.
        base: settings that no axis varies are read from here.
        federations, cells: the grid, in the order of the config.
    """

    raw: Raw
    base: ExperimentConfig
    federations: tuple[Federation, ...]
    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """Return a hash of the config; two runs with the same one are the same experiment."""
        return hashlib.sha256(json.dumps(self.raw, sort_keys=True).encode()).hexdigest()


def read_plan(path: Path, assignments: Iterable[str] = ()) -> Plan:
    """Return the plan of the config at `path` with "key=value" assignments applied.

    A config may hold settings for several scales, [scales.NAME]; those of the one that its key `scale` names, or
    "scale=NAME" among the assignments, are put over the rest, and the scale is added to the name of the run.

    Raises:
        ConfigError: as `fl_sim.config` and `make_plan`, or no such scale.
    """
    raw = read_toml(path)
    raw.setdefault("name", path.stem)
    chosen = [assignment for assignment in assignments if assignment.partition("=")[0].strip() == "scale"]
    rest = [assignment for assignment in assignments if assignment not in chosen]
    return make_plan(override(scaled(override(raw, chosen, ())), rest, TABLES))


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
    cells: dict[tuple[str, str], Cell] = {}
    for config in combinations:
        simulation = _simulation(config)
        label = federation_label(simulation, varying)
        fresh = Federation(label, simulation, config.repeats, variant(simulation, varying))
        known = federations.setdefault(label, fresh)
        if known.config != simulation:
            raise ConfigError(f"the grid names two different federations '{label}'; give one axis only.")
        if config.attack.name != NO_ATTACK:
            cell = _cell(label, config.attack, varying)
            cells[label, cell.label] = cell
    return Plan(_resolved(raw, combinations), combinations[0], tuple(federations.values()), tuple(cells.values()))


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
    """Return `raw` with every setting that it leaves to its default, those of all its attacks among them."""
    resolved = combinations[0].model_dump(exclude={"repeat"})
    for config in combinations:
        if config.attack.name == NO_ATTACK:
            continue
        settings = ATTACKS[config.attack.name].settings(**config.attack.settings).model_dump()
        resolved["attack"] = settings | resolved["attack"]
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
    """Return one combination as settings, without the keys that belong to another attack of the same experiment."""
    config = validate(ExperimentConfig, combination)
    name = config.attack.name
    if name == NO_ATTACK and not config.attack.settings:
        return config
    if name not in ATTACKS:
        raise unknown_name("attack.name", name, [*ATTACKS, NO_ATTACK])
    own = ATTACKS[name].settings
    table = raw.get("attack")
    others = table.get("name", name) if isinstance(table, dict) else name
    allowed = {key for other in (others if isinstance(others, list) else [others]) if other in ATTACKS
               for key in ATTACKS[other].settings.model_fields}  # fmt: skip
    for key in config.attack.settings:
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise ConfigError(f"attack.{key}: unknown key.{nearest(key, allowed)} Known: name, {known}.")
    settings = {key: value for key, value in config.attack.settings.items() if key in own.model_fields}
    try:
        own(**settings)
    except pydantic.ValidationError as error:
        raise ConfigError(f"attack.{explain(own, error)}") from error
    return config.model_copy(update={"attack": AttackSettings(name=name, **settings)})


def _simulation(config: ExperimentConfig) -> SimulationConfig:
    """Return the federation's part of a combination; spiking settings that an ANN does not read are the defaults."""
    fields = {name: getattr(config, name) for name in SimulationConfig.model_fields}
    if not MODELS[config.model.name].spiking:
        fields["model"] = config.model.model_copy(update=SpikingSpec().model_dump())
    return SimulationConfig(**fields)
