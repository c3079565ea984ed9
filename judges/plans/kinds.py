"""Which kind of experiment a config describes, and its plan. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from fl_sim.config import Raw, read_toml
from fl_sim.errors import ConfigError, nearest
from judges.plans import model_inversion as inversion
from judges.plans.audit import TASK as AUDIT
from judges.plans.base import ExperimentBase
from judges.plans.gradient_inversion import TABLES, Plan, make_plan, read_config
from judges.plans.model_inversion import InversionPlan, make_inversion_plan


class RunPlan(Protocol):
    """What every kind of experiment has: see `Plan` and `InversionPlan`."""

    @property
    def raw(self) -> Raw:
        """Return the config as resolved."""

    @property
    def base(self) -> ExperimentBase:
        """Return the settings that no axis varies."""

    @property
    def units(self) -> Mapping[str, str]:
        """Return {cell: hash of all that it depends on}."""

    @property
    def digest(self) -> str:
        """Return a hash of the config."""


def plan_of(raw: Raw) -> Plan | InversionPlan:
    """Return the plan of a config: of model inversion where its key `task` says so, else of gradient inversion.

    Raises:
        ConfigError: there is no such task, or as the plan's own function.
    """
    if "task" not in raw:
        return make_plan(raw)
    if raw["task"] == AUDIT:
        raise ConfigError(
            "task: this is an audit, not an experiment; call `spikeleak audit FOLDER` with its settings again."
        )
    if raw["task"] != inversion.TASK:
        guess = nearest(str(raw["task"]), [inversion.TASK])
        raise ConfigError(f'task: expected "{inversion.TASK}" or no such key, got {raw["task"]!r}.{guess}')
    return make_inversion_plan(raw)


def read_plan_of(path: Path, assignments: Iterable[str] = ()) -> Plan | InversionPlan:
    """Return the plan of the config at `path` with "key=value" assignments applied.

    Raises:
        ConfigError: as `judges.plans.gradient_inversion.read_config` and `plan_of`.
    """
    tables = inversion.TABLES if "task" in read_toml(path) else TABLES
    return plan_of(read_config(path, assignments, tables))
