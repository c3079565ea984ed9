"""What an audit of somebody's own federation does: which attacks, and what it takes for granted. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from attacks import ATTACKS
from fl_sim.config import DatasetSettings, Raw, expand, override, validate
from fl_sim.errors import ConfigError
from fl_sim.specs import Settings
from judges.classifiers.settings import NONE, JudgeOptions
from judges.plans.base import AttackSettings, axes, checked_attack, plan_digest, unit_digest
from judges.plans.gradient_inversion import Cell, Federation, cell_of

TASK = "audit"
TABLES = ("dataset", "attack", "judge")


class Assumptions(Settings):
    """What the server is taken to know where its train config did not say it; None for what is not assumed.

    Attributes:
        learning_rate, local_steps, batch_size: of the clients' local SGD.
    """

    learning_rate: float | None = Field(default=None, gt=0)
    local_steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)


class AuditSettings(Settings):
    """How captures are attacked and scored.

    Attributes:
        task: names this kind of experiment.
        people: whether the data show people; their pictures are hidden then.
        defence: what the rows call the defence that the clients apply, as its owner knows it.
        seed: of the initial guesses.
        threads: torch threads.
        chunk: how many captures one call of the attack gets.
        device: where attacks and the judge compute.
        dataset: that the clients hold, where it is one of the table; judge and the controls of means need it.
        class_distances: how many of its examples are compared with each other; 0 for none.
        judge: which classifier says what a reconstruction shows; "none" by default.
        attack: which, of one combination of the lists.
        assumed: of the clients.
    """

    task: Literal["audit"] = "audit"
    people: bool = False
    defence: str = Field(default="none", min_length=1, max_length=80)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    chunk: int = Field(default=32, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    dataset: DatasetSettings | None = None
    class_distances: int = Field(default=0, ge=0, le=5000)
    judge: JudgeOptions = JudgeOptions(name=NONE)
    attack: AttackSettings = AttackSettings()
    assumed: Assumptions = Assumptions()


@dataclass(frozen=True)
class AuditPlan:
    """A whole audit.

    Attributes:
        raw: the config as read, and the defaults of the rest.
        base: what is the same for all attacks.
        cells: the attacks, in the order of the lists; which captures they are tried on is found in the folder.
        units: {label of an attack: hash of all that its results depend on but for the captures}.
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
        """Return nothing: the federation was somebody else's."""
        return ()

    def cells_on(self, group: str) -> list[Cell]:
        """Return the attacks on a group of captures, by its label."""
        return [dataclasses.replace(cell, federation=group) for cell in self.cells]


def read_audit(assignments: Iterable[str]) -> AuditPlan:
    """Return the audit that "key=value" assignments describe.

    Raises:
        ConfigError: as `make_audit_plan`.
    """
    return make_audit_plan(override({}, assignments, TABLES))


def make_audit_plan(raw: Raw) -> AuditPlan:
    """Return the audit of a config; a list of an attack's setting, or of attacks, is an axis.

    Raises:
        ConfigError: an unknown key, a wrong type or value, no such attack, a list elsewhere.
    """
    if isinstance(raw.get("judge"), dict):
        raw = {**raw, "judge": {"name": NONE, **raw["judge"]}}
    varying = axes(raw, TABLES)
    for path in varying:
        if not path.startswith("attack"):
            raise ConfigError(f"{path}: is the same for the whole audit, so it cannot be a list.")
    settings = [validate(AuditSettings, combination) for combination in expand(raw, TABLES)]
    base = settings[0]
    if base.dataset is None and (base.judge.name != NONE or base.class_distances):
        raise ConfigError("judge: a judge is trained on the clients' data set, so name it: --set dataset=NAME.")
    checked = [checked_attack(one.attack, raw, ATTACKS) for one in settings]
    cells = {cell.label: cell for cell in (cell_of("", attack, varying) for attack in checked)}
    units = {label: unit_digest(base, {"name": cell.attack, **cell.all_settings}) for label, cell in cells.items()}
    resolved = base.model_dump(exclude={"attack"}, exclude_none=True)
    resolved["attack"] = raw.get("attack", checked[0].model_dump())
    return AuditPlan(resolved, base, tuple(cells.values()), units)
