"""One experiment: a config whose lists are the axes of a grid of federations and attacks.

Importing this imports neither torch nor Flower, so that a wrong config fails at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from attacks import ATTACKS, adversary_of
from attacks.settings import POST, UNTHRESHOLDED
from fl_sim.config import Raw, SimulationConfig, validate
from fl_sim.config.defence import with_own_settings
from fl_sim.config.federation import SUM_OF_CLIENTS
from fl_sim.config.strengths import strength_axes
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.plugins import OURS
from fl_sim.specs import Scalar, SpikingSpec
from judges.classifiers.settings import JudgeOptions
from judges.plans.auxiliary import auxiliary_name, checked_auxiliary
from judges.plans.base import (
    NO_ATTACK,
    AttackSettings,
    ExperimentBase,
    LadderSettings,
    attack_keys,
    attacked,
    axes,
    checked_attack,
    names_defence,
    plan_digest,
    resolved,
    unit_digest,
    varying_settings,
)
from judges.plans.protocol import OUR_OWN, combinations_of, set_by_words, variants
from judges.runs.identity import PROTOCOL, SWAPPED, Attacked
from judges.runs.names import attack_label, control_cell, federation_label

TABLES = ("dataset", "model", "strategy", "defence", "attack", "judge")
ONE_VALUE = (
    "name", "scale", "repeats", "repeat", "threads", "device", "chunk", "class_distances", "checks", "ladder.examples",
    "dataset.root",
    "dataset.size", "dataset.time_bins", "dataset.window_ms", "dataset.polarity", "dataset.voxels", "dataset.bin_ms",
    "dataset.denoise_ms", "dataset.classes", "dataset.test_fraction", "dataset.test_split", "dataset.people",
    "federation.keep_every",
    *(f"judge.{key}" for key in JudgeOptions.model_fields),
)  # fmt: skip
"""Settings of the whole experiment, which cannot be lists."""


class ExperimentConfig(ExperimentBase):
    """One combination of an experiment's axes.

    Attributes:
        protocol: "ours", or "published" for the paper's own: see `judges.plans.protocol` for what it sets where the
            config leaves keys out. Diverged victims of the latter are scored like others.
        chunk: number of captures in one call of an attack, which are attacked in parallel and lost together if the run
            is killed. Another number changes the last digits, since the victims of a call share its sums.
        class_distances: number of examples of a data set that are compared with each other for the table of distances
            inside and between classes; 0 for none.
        checks: number of victims of each group on which the sanity checks of each attack are made; 0 for none.
        ladder: the same clients from the attacker\'s best case to their own setting.
        judge: the classifier that tells what a reconstruction shows.
    """

    protocol: Literal["ours", "published"] = "ours"
    chunk: int = Field(default=32, ge=1, le=100_000)
    class_distances: int = Field(default=0, ge=0, le=5000)
    checks: int = Field(default=0, ge=0, le=1000)
    ladder: LadderSettings = LadderSettings()
    judge: JudgeOptions = JudgeOptions()


@dataclass(frozen=True)
class Federation:
    """One federation of the grid, with its repetitions.

    Attributes:
        label: its name in folders.
        config: config of repetition 0.
        repeats: number of repetitions.
        attacked: its columns in the rows.
    """

    label: str
    config: SimulationConfig
    repeats: int
    attacked: Attacked

    def repetition(self, repeat: int) -> tuple[str, SimulationConfig]:
        """Return the federation id and config of one repetition."""
        return f"{self.label}-{repeat:03d}", self.config.model_copy(update={"repeat": repeat})


@dataclass(frozen=True)
class Cell:
    """One attack on one federation.

    Attributes:
        federation: label of the federation.
        label: name of the attack with the settings that vary.
        attack: name of the attack in the table.
        settings: settings of the attack.
        varied: the settings that vary, except thresholding and threshold, which have columns of their own in the rows.
        source: label under which its reconstructions are stored. Cells that differ only in post-optimisation
            thresholding share those of the attack without it.
    """

    federation: str
    label: str
    attack: str
    settings: Mapping[str, Scalar]
    varied: Mapping[str, Scalar]
    source: str

    @property
    def name(self) -> str:
        """Return its name in the rows."""
        return f"{self.federation}/{self.label}"

    @property
    def swapped(self) -> str:
        """Return the name of its control with swapped targets."""
        return control_cell(self.federation, f"{SWAPPED} {self.label}")

    @property
    def all_settings(self) -> dict[str, Scalar]:
        """Return its settings, completed by the attack's defaults."""
        settings: dict[str, Scalar] = ATTACKS[self.attack].settings(**self.settings).model_dump()
        return settings

    @property
    def thresholding(self) -> str:
        """Return how answers become spikes."""
        return str(self.all_settings.get("thresholding", UNTHRESHOLDED))

    @property
    def tau(self) -> float | None:
        """Return the threshold; None without thresholding."""
        return None if self.thresholding == UNTHRESHOLDED else float(self.all_settings["tau"])

    @property
    def adversary(self) -> str:
        """Return the letter of the adversary's knowledge; see `attacks.AttackEntry`."""
        return adversary_of(self.attack, self.all_settings)

    @property
    def auxiliary(self) -> str:
        """Return the name of the adversary's auxiliary data; "" for none."""
        return auxiliary_name(self.all_settings)

    @property
    def guess(self) -> str:
        """Return how the initial guess is drawn; attacks that share this value start alike.

        Those of our attacks that have a choice of guess draw it alike; other attacks may each draw it in their own way,
        or from their auxiliary data.
        """
        kind = str(self.all_settings.get("guess", self.auxiliary))
        if self.all_settings.get("positive") and kind == "normal":  # its negative values start elsewhere
            kind = f"{kind} {self.all_settings['positive']}"
        return kind if self.starts_like_others else f"{self.attack} {kind}".strip()

    @property
    def starts_like_others(self) -> bool:
        """Return whether the attack draws its guess like other attacks with the same kind of guess."""
        return "guess" in self.all_settings and ATTACKS.origin(self.attack) == OURS

    @property
    def kept(self) -> Cell:
        """Return the cell whose answers are stored: for post-optimisation thresholding, the same attack without it."""
        if self.settings.get("thresholding") != POST:
            return self
        return replace(self, label=self.source, settings=_without_thresholding(self.settings))


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes:
        raw: the resolved config: its lists, completed by the defaults of all other settings.
        base: the first combination, from which settings that no axis varies are read.
        federations, cells: the grid, in the order of the config.
        units: {name of a cell, or label of a federation without cells: hash of all that it depends on}.
    """

    raw: Raw
    base: ExperimentConfig
    federations: tuple[Federation, ...]
    cells: tuple[Cell, ...]
    units: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return a hash of the config; see `plan_digest`."""
        return plan_digest(self.raw)

    def cells_on(self, federation: str) -> list[Cell]:
        """Return the attacks on a federation, by its label."""
        return [cell for cell in self.cells if cell.federation == federation]


def make_plan(raw: Raw, *, named: Iterable[str] = ()) -> Plan:
    """Return the grid of federations and attacks that `raw` describes.

    Args:
        raw: a config as read.
        named: paths of further settings to include in the labels, besides those of the axes.

    Raises:
        ConfigError: a key is not known, a type is wrong, or a combination is impossible.
    """
    own = variants(raw, TABLES, ONE_VALUE)
    found = [path for variant in own.values() for path in (*axes(variant, TABLES), *strength_axes(variant))]
    varying = list(dict.fromkeys([*found, *named]))
    for path in varying:
        if path in ONE_VALUE:
            raise ConfigError(f"{path}: is the same for the whole experiment, so it cannot be a list.")
    combinations = [_checked(combination, variant) for combination, variant in combinations_of(own, TABLES)]
    federations: dict[str, Federation] = {}
    cells: dict[str, Cell] = {}
    units: dict[str, str] = {}
    for config in combinations:
        simulation = simulation_of(config)
        what = attacked(simulation, varying)
        if len(own) > 1 or config.protocol != OUR_OWN:
            what = replace(what, varied={PROTOCOL: config.protocol, **what.varied})
        label = federation_label(what, defence=names_defence(simulation, varying))
        known = federations.setdefault(label, Federation(label, simulation, config.repeats, what))
        if known.config != simulation:
            raise ConfigError(f"the grid names two different federations '{label}'; give one axis only.")
        read = config.model_copy(update={name: getattr(simulation, name) for name in SimulationConfig.model_fields})
        if config.attack.name == NO_ATTACK:
            units[label] = unit_digest(read, {})
            continue
        cell = cell_of(label, config.attack, varying)
        if cells.setdefault(cell.name, cell) != cell:
            raise ConfigError(f"attack: the grid names two different attacks '{cell.label}'; give one of them only.")
        units[cell.name] = unit_digest(read, {"name": cell.attack, **cell.all_settings})
    raw = resolved(next(iter(own.values())) if len(own) == 1 else raw, combinations, set_by_words(raw, TABLES), TABLES)
    return Plan(raw, combinations[0], tuple(federations.values()), tuple(cells.values()), units)


def cell_of(federation: str, attack: AttackSettings, varying: Iterable[str]) -> Cell:
    """Return an attack on a federation; without thresholding, the threshold is ignored.

    Args:
        federation: label of the federation.
        attack: result of `checked_attack`.
        varying: paths of the axes of the experiment.
    """
    settings = attack.settings
    plain, paths = _without_thresholding(settings), list(varying)
    varied = varying_settings("attack", plain, paths)
    source = attack_label(attack.name, varied)
    if settings.get("thresholding", UNTHRESHOLDED) == UNTHRESHOLDED:
        return Cell(federation, source, attack.name, plain, varied, source)
    label = attack_label(attack.name, varying_settings("attack", settings, paths))
    return Cell(federation, label, attack.name, settings, varied, source if settings["thresholding"] == POST else label)


def _without_thresholding(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: value for key, value in settings.items() if key not in ("thresholding", "tau")}


def _checked(combination: Raw, raw: Raw) -> ExperimentConfig:
    """Return one combination as settings, without the keys of another attack or defence of the same experiment."""
    config = validate(ExperimentConfig, with_own_settings(combination, raw), {"attack": attack_keys(raw, ATTACKS)})
    if not config.federation.captures(1):
        raise ConfigError(
            "federation.capture_every: 0 captures no update, and this experiment is about updates; 1 captures all."
        )
    if config.ladder.examples and config.federation.observer == SUM_OF_CLIENTS:
        raise ConfigError(
            f'ladder.examples: a ladder is climbed by whole clients, and with federation.observer = "{SUM_OF_CLIENTS}" '
            "none is seen alone; leave out one of the two."
        )
    attack = checked_attack(config.attack, raw, ATTACKS, NO_ATTACK)
    if attack.name != NO_ATTACK:
        attack = checked_auxiliary(attack, config.dataset)
    return config.model_copy(update={"attack": attack})


def simulation_of(config: ExperimentBase) -> SimulationConfig:
    """Return the federation's part of a combination; the spiking settings that an ANN ignores have their defaults."""
    fields = {name: getattr(config, name) for name in SimulationConfig.model_fields}
    if not MODELS[config.model.name].spiking:
        fields["model"] = config.model.model_copy(update=SpikingSpec().model_dump())
    return SimulationConfig(**fields)
