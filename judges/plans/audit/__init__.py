"""The plan of an audit: its attacks, and what it assumes about the clients. Importing this does not import torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import pydantic
from pydantic import Field

from attacks import ATTACKS
from fl_sim.client_training import ClientTraining
from fl_sim.config import DatasetSettings, Raw, expand, override, validate
from fl_sim.errors import ConfigError
from fl_sim.specs import Settings
from judges.classifiers.settings import NONE, JudgeOptions
from judges.plans.audit.threats import GRADIENT, NAMES, check_attacks, threats_in
from judges.plans.auxiliary import checked_auxiliary
from judges.plans.base import AttackSettings, Device, LadderSettings, axes, checked_attack, plan_digest, unit_digest
from judges.plans.gradient_inversion import Cell, Federation, cell_of

TASK = "audit"
TABLES = ("dataset", "attack", "judge", "model_inversion", "membership")
DEFAULT_ATTACK = "ensemble"
LATER = ("threats", "model_inversion", "membership")
"""Keys that came after folders had been audited without them: an audit has them only where they are not the default."""


class Assumptions(ClientTraining):
    """Facts that the server is assumed to know although its train config did not state them; None to assume nothing.

    Attributes:
        learning_rate: of the clients' optimiser.
        local_steps: optimiser steps of a client in a round; leave it out if you say how many epochs.
        epochs: passes of a client over its examples in a round; the number of examples is what the client reports.
        batch_size: examples of a step; the last step of an epoch may have fewer.
        num_examples: number of examples of a client that reports none.
    """

    learning_rate: float | None = Field(default=None, gt=0)
    local_steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    num_examples: int | None = Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.local_steps is not None and self.epochs is not None:
            raise ValueError("local_steps: say how many local steps or how many epochs, not both")
        return self


class AuditSettings(Settings):
    """How captures are attacked and scored.

    Attributes:
        task: the kind of experiment.
        people: whether the data show people, whose pictures are then hidden.
        defence: name of the clients' defence in the rows, as their owner knows it.
        seed: seed of the initial guesses.
        threads: torch threads.
        chunk: number of captures in one call of the attack.
        device: where attacks and the judge compute.
        dataset: the clients' data set, if it is in the table; the judge needs it, and the mean images as controls are
            of its train split.
        public: folder of public pictures of the same kind as the clients', whose mean images are then controls, in
            place of dataset: one subfolder for each class, or pictures without classes. Attacks that can use auxiliary
            data get them too, unless attack.auxiliary says otherwise.
        class_distances: number of its examples that are compared with each other; 0 for none.
        checks: number of victims of each group on which the sanity checks of each attack are made; 0 for none.
        ladder: the same clients from the attacker\'s best case to their own setting.
        judge: the classifier that tells what a reconstruction shows; "none" by default.
        attack: the attack of one combination of the lists; the ensemble by default.
        assumed: facts about the clients.
        threats: what is attacked besides the clients' updates, with commas between the names: "gradient", which every
            audit makes, "model" and "membership"; the latter two attack the last global model that was recorded.
        model_inversion: the model inversion of threats = "gradient,model", and its settings; by default mi_face of an
            ANN and brainleaks_v2 of a spiking network.
        membership: the membership inference of threats = "gradient,membership", and its settings; one without shadow
            models.
    """

    task: Literal["audit"] = "audit"
    people: bool = False
    defence: str = Field(default="none", min_length=1, max_length=80)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    chunk: int = Field(default=32, ge=1)
    device: Device = "cpu"
    dataset: DatasetSettings | None = None
    public: str = ""
    class_distances: int = Field(default=0, ge=0, le=5000)
    checks: int = Field(default=2, ge=0, le=1000)
    ladder: LadderSettings = LadderSettings()
    judge: JudgeOptions = JudgeOptions(name=NONE)
    attack: AttackSettings = AttackSettings(name=DEFAULT_ATTACK)
    assumed: Assumptions = Assumptions()
    threats: str = GRADIENT
    model_inversion: AttackSettings = AttackSettings(name="")
    membership: AttackSettings = AttackSettings(name="loss_threshold")

    @property
    def further(self) -> tuple[str, ...]:
        """Return the threats besides gradient inversion, by the names of their folders."""
        return tuple(NAMES[name] for name in self.threats.split(",") if name != GRADIENT)


@dataclass(frozen=True)
class AuditPlan:
    """A whole audit.

    Attributes:
        raw: the config as read, completed by the defaults.
        base: the settings that all attacks share.
        cells: the attacks, in the order of the lists; the folder says which captures they are tried on.
        units: {label of an attack: hash of all that its results depend on, except the captures}.
    """

    raw: Raw
    base: AuditSettings
    cells: tuple[Cell, ...]
    units: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return a hash of the config."""
        return plan_digest(self.raw)

    @property
    def federations(self) -> tuple[Federation, ...]:
        """Return (): the federation was run by somebody else."""
        return ()

    def cells_on(self, group: str) -> list[Cell]:
        """Return the attacks on a group of captures, by its label."""
        return [dataclasses.replace(cell, federation=group) for cell in self.cells]


def audit_of(raw: Raw) -> AuditPlan:
    """Return the audit with the attacks and the judge of an experiment, as its config is resolved."""
    same = ("seed", "threads", "chunk", "device", "checks", "judge", "attack", "ladder")
    data = raw["dataset"]
    named = {} if any(isinstance(value, list) for value in data.values()) else {"dataset": data}
    defences = raw["defence"]["name"]
    named["defence"] = defences if isinstance(defences, str) else ", ".join(defences)
    return make_audit_plan({"task": TASK, **{key: raw[key] for key in same}, **named})


def read_audit(assignments: Iterable[str], *, public: str = "", threats: str = "") -> AuditPlan:
    """Return the audit that "key=value" assignments describe, with public pictures and threats unless these are "".

    See `make_audit_plan`.
    """
    told = {"public": public, "threats": threats}
    return make_audit_plan(override({key: text for key, text in told.items() if text}, assignments, TABLES))


def make_audit_plan(raw: Raw) -> AuditPlan:
    """Return the audit of a config; a list of attacks, or of values of an attack's setting, is an axis.

    Raises:
        ConfigError: a key or attack is not known, a type or value is wrong, another key has a list, or both a data set
            and public pictures are named.
    """
    if "threats" in raw:
        raw = {**raw, "threats": threats_in(raw["threats"])}
    if isinstance(raw.get("judge"), dict):
        raw = {**raw, "judge": {"name": NONE, **raw["judge"]}}
    if isinstance(raw.get("attack"), dict):
        raw = {**raw, "attack": {"name": DEFAULT_ATTACK, **raw["attack"]}}
    varying = axes(raw, TABLES)
    for path in varying:
        if not path.startswith("attack"):
            raise ConfigError(f"{path}: is the same for the whole audit, so it cannot be a list.")
    if isinstance(raw.get("membership"), dict):
        raw = {**raw, "membership": {"name": AuditSettings().membership.name, **raw["membership"]}}
    if isinstance(raw.get("model_inversion"), dict):
        raw = {**raw, "model_inversion": {"name": "", **raw["model_inversion"]}}
    settings = [validate(AuditSettings, combination) for combination in expand(raw, TABLES)]
    base = settings[0]
    if base.dataset is None and (base.judge.name != NONE or base.class_distances):
        raise ConfigError("judge: a judge is trained on the clients' data set, so name it: --set dataset=NAME.")
    if base.dataset is not None and base.public:
        raise ConfigError(
            f"public: the mean images come from the data set '{base.dataset.name}' or from '{base.public}', not from "
            "both; leave out --public or dataset."
        )
    check_attacks(base.model_inversion, base.membership)
    checked = [
        checked_auxiliary(checked_attack(one.attack, raw, ATTACKS), base.dataset, public=base.public)
        for one in settings
    ]
    cells = {cell.label: cell for cell in (cell_of("", attack, varying) for attack in checked)}
    units = {label: unit_digest(base, {"name": cell.attack, **cell.all_settings}) for label, cell in cells.items()}
    resolved = base.model_dump(exclude={"attack"}, exclude_none=True)
    usual = AuditSettings().model_dump()
    resolved = {key: value for key, value in resolved.items() if key not in LATER or value != usual[key]}
    resolved["attack"] = raw.get("attack", checked[0].model_dump())
    return AuditPlan(resolved, base, tuple(cells.values()), units)
