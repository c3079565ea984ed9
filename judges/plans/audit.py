"""What an audit of somebody's own federation may be told. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from attacks import ATTACKS
from fl_sim.config import Raw, expand, override, validate
from fl_sim.errors import ConfigError
from fl_sim.specs import Settings
from judges.names import attack_label, axes
from judges.plans.base import AttackSettings, checked_attack

TASK = "audit"
TABLES = ("attack",)


class Assumptions(Settings):
    """What the server is taken to know where its train config did not say it; None for what is not assumed.

    Attributes:
        learning_rate, local_steps, batch_size: of the clients' local SGD.
    """

    learning_rate: float | None = Field(default=None, gt=0)
    local_steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)


class AuditSettings(Settings):
    """How captures are attacked.

    Attributes:
        task: tells an audit's folder.
        people: whether the data show people; their pictures are hidden then.
        defence: what the rows call the defence that the clients apply, as its owner knows it.
        seed: of the initial guesses.
        threads: torch threads.
        chunk: how many captures one call of the attack gets.
        device: where the attack computes.
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
    attack: AttackSettings = AttackSettings()
    assumed: Assumptions = Assumptions()


@dataclass(frozen=True)
class AuditPlan:
    """A whole audit.

    Attributes:
        raw: as it was told, and the defaults of the rest.
        base: what is the same for all attacks.
        attacks: {label: attack}, in the order of the lists.
    """

    raw: Raw
    base: AuditSettings
    attacks: Mapping[str, AttackSettings]


def read_audit(assignments: Iterable[str]) -> AuditPlan:
    """Return the audit that "key=value" assignments tell; a list of an attack's setting, or of attacks, is an axis.

    Raises:
        ConfigError: an unknown key, a wrong type or value, no such attack, a list elsewhere.
    """
    raw: Raw = override({}, assignments, TABLES)
    varying = axes(raw, TABLES)
    for path in varying:
        if not path.startswith("attack"):
            raise ConfigError(f"{path}: is the same for the whole audit, so it cannot be a list.")
    settings = [validate(AuditSettings, combination) for combination in expand(raw, TABLES)]
    checked = [checked_attack(one.attack, raw, ATTACKS) for one in settings]
    attacks = {attack_label(attack.name, attack.settings, varying): attack for attack in checked}
    resolved = settings[0].model_dump(exclude={"attack"}, exclude_none=True)
    return AuditPlan({**resolved, "attack": raw.get("attack", checked[0].model_dump())}, settings[0], attacks)
