"""The kinds of experiment: what plans, executes, reports, prints and exports each. Used wherever kinds differ.

Importing this does not import torch: the places in the table are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from fl_sim.config import Raw, read_toml
from fl_sim.errors import ConfigError, DataError, nearest
from fl_sim.plugins import located
from judges.plans.reading import read_config


class RunPlan(Protocol):
    """Common properties of the plans of all kinds; see `judges.plans`."""

    @property
    def raw(self) -> Raw:
        """Return the resolved config."""

    @property
    def base(self) -> Any:  # noqa: ANN401 - the settings of the kind
        """Return the settings that no axis varies."""

    @property
    def units(self) -> Mapping[str, str]:
        """Return {cell: hash of all that its results depend on}."""

    @property
    def digest(self) -> str:
        """Return a hash of the config."""


@dataclass(frozen=True)
class Kind:
    """A kind of experiment. Places are written "package.module:name".

    Attributes:
        task: value of the key `task` of its configs; "" if they have none.
        command: the command that runs it.
        tables: keys of its configs whose plain value means the table's `name`.
        plan: function that returns the plan of a config.
        bench: subclass of `judges.bench.execution.Execution` that carries out a plan.
        statement: function that writes the statement of a run's folder and returns the path of the page.
        report: function that writes the report of a run's folder and returns the path of the page.
        submission: function that returns what a run's folder hands in to a board; "" if its victims are nobody else's.
        results: function that returns the results of a run's folder for a terminal; None if there are no rows.
        verdicts: function that returns the verdicts on the attacks of a run's folder, as `judges.report.words.Verdict`.
        cells: function that yields the `judges.export.cells.ExportedCell`s of a plan and its run's folder.
        forecast: function that yields (what, text) of what a plan would do in a folder; "" if nothing is known.
        account: function that returns what a statement of several threats says of a run's folder, as
            `judges.report.statements.Account`; "" if the kind is no threat of its own.
    """

    task: str
    command: str
    tables: tuple[str, ...]
    plan: str
    bench: str
    report: str
    statement: str
    submission: str
    results: str
    verdicts: str
    cells: str
    forecast: str = ""
    account: str = ""

    def part(self, name: str) -> Any:  # noqa: ANN401 - a function or class
        """Return the object at one of the places."""
        return located(getattr(self, name), f"kind of experiment '{self.task}'")


_GRADIENTS = ("dataset", "model", "strategy", "defence", "attack", "judge")
_GRADIENT_INVERSION = Kind(
    task="",
    command="run",
    tables=_GRADIENTS,
    plan="judges.plans.gradient_inversion:make_plan",
    bench="judges.bench.gradient_inversion:Run",
    report="judges.report.gradient_inversion.report:write_report",
    statement="judges.report.gradient_inversion.statement:write_attack_statement",
    submission="judges.board.entries:submission_of",
    results="judges.report.gradient_inversion.tables_record:results_of_attacks",
    verdicts="judges.report.gradient_inversion.tables_record:verdicts_on_attacks",
    cells="judges.export.tradeoffs:cells_of_experiments",
    forecast="judges.bench.forecast:forecast_attacks",
    account="judges.report.gradient_inversion.statement:account_of_attacks",
)
_MODEL_INVERSION = Kind(
    task="model_inversion",
    command="run",
    tables=(*_GRADIENTS, "training"),
    plan="judges.plans.model_inversion:make_inversion_plan",
    bench="judges.bench.model_inversion:InversionRun",
    report="judges.report.model_inversion.report:write_inversion_report",
    statement="judges.report.model_inversion.statement:write_inversion_statement",
    submission="",
    results="judges.report.model_inversion.tables:results_of_inversions",
    verdicts="judges.report.model_inversion.tables:verdicts_on_inversions",
    cells="judges.export.inversions:cells_of_inversions",
    forecast="judges.bench.forecast:forecast_inversions",
    account="judges.report.model_inversion.statement:account_of_inversions",
)
_MEMBERSHIP = Kind(
    task="membership",
    command="run",
    tables=("dataset", "model", "strategy", "defence", "attack", "training"),
    plan="judges.plans.membership:make_membership_plan",
    bench="judges.bench.membership.run:MembershipRun",
    report="judges.report.membership.report:write_membership_report",
    statement="judges.report.membership.statement:write_membership_statement",
    submission="",
    results="judges.report.membership.tables:results_of_memberships",
    verdicts="judges.report.membership.tables:verdicts_on_memberships",
    cells="judges.export.memberships:cells_of_memberships",
    forecast="judges.bench.membership.forecast:forecast_memberships",
    account="judges.report.membership.statement:account_of_memberships",
)


def _of_audits(kind: Kind, **own: Any) -> Kind:  # noqa: ANN401 - fields of a kind
    """Return the kind of an audit's part, whose results are those of a kind of experiment."""
    return replace(kind, command="audit", submission="", forecast="", account="", **own)


KINDS: Mapping[str, Kind] = {
    "gradient_inversion": _GRADIENT_INVERSION,
    "audit": _of_audits(
        _GRADIENT_INVERSION,
        task="audit",
        tables=("dataset", "attack", "judge"),
        plan="judges.plans.audit:make_audit_plan",
        bench="judges.bench.audit:Audit",
        cells="judges.export.cells:cells_of_attacks",
    ),
    "audit_model_inversion": _of_audits(
        _MODEL_INVERSION,
        task="audit_model_inversion",
        tables=("attack",),
        plan="judges.plans.audit.threats:make_recorded_inversion_plan",
        bench="judges.bench.audit.inversion:RecordedInversion",
    ),
    "audit_membership": _of_audits(
        _MEMBERSHIP,
        task="audit_membership",
        tables=("attack",),
        plan="judges.plans.audit.threats:make_recorded_membership_plan",
        bench="judges.bench.audit.membership:RecordedMembership",
    ),
    "audit_weights": Kind(
        task="audit_weights",
        command="audit",
        tables=("dataset", "model", "model_inversion", "membership"),
        plan="judges.plans.audit.weights:make_weights_audit_plan",
        bench="judges.bench.audit.of_weights:WeightsAudit",
        report="judges.report.weights.report:write_weights_report",
        statement="judges.report.weights.statement:write_weights_statement",
        submission="",
        results="judges.report.weights.report:results_of_weights",
        verdicts="judges.report.rounds.tables:verdicts_of_rounds",
        cells="judges.export.rounds:cells_of_rounds",
    ),
    "model_inversion": _MODEL_INVERSION,
    "rounds": Kind(
        task="rounds",
        command="run",
        tables=(*_GRADIENTS, "gradient_inversion", "model_inversion", "membership"),
        plan="judges.plans.rounds:make_rounds_plan",
        bench="judges.bench.rounds:RoundsRun",
        report="judges.report.rounds.report:write_rounds_report",
        statement="judges.report.rounds.statement:write_rounds_statement",
        submission="",
        results="judges.report.rounds.tables:results_of_rounds",
        verdicts="judges.report.rounds.tables:verdicts_of_rounds",
        cells="judges.export.rounds:cells_of_rounds",
        forecast="judges.bench.forecast:forecast_rounds",
    ),
    "membership": _MEMBERSHIP,
}


def kind_of(raw: Raw) -> Kind:
    """Return the kind of experiment that a config describes by its key `task`; a ConfigError if it is not known."""
    task = raw.get("task", "")
    found = next((kind for kind in KINDS.values() if kind.task == task and ("task" in raw) == bool(kind.task)), None)
    if found is None:
        tasks = [kind.task for kind in KINDS.values() if kind.task]
        known = " or ".join(f'"{name}"' for name in tasks)
        raise ConfigError(f"task: expected {known}, or no such key, got {task!r}.{nearest(str(task), tasks)}")
    return found


def kind_in(run_dir: Path) -> Kind:
    """Return the kind of experiment in the folder of a run.

    Raises:
        DataError: the folder holds no run.
        ConfigError: its config is not TOML, or the kind is not known.
    """
    path = run_dir / "config.toml"
    if not run_dir.exists():
        beside = [one.name for one in run_dir.parent.glob("*/")] if run_dir.parent.is_dir() else []
        raise DataError(
            f"{run_dir}: expected the folder of a run, found no such folder.{nearest(run_dir.name, beside)}"
        )
    if run_dir.is_file():
        raise DataError(
            f"{run_dir}: expected the folder of a run, got a file. A config is carried out by spikeleak run {run_dir}"
        )
    if not path.is_file():
        raise DataError(f"{run_dir}: expected the folder of a run, found no config.toml in it.")
    return kind_of(read_toml(path))


def plan_of(raw: Raw) -> RunPlan:
    """Return the plan of a config; a ConfigError if the kind of experiment or anything else in it is wrong."""
    plan: RunPlan = kind_of(raw).part("plan")(raw)
    return plan


def read_plan(path: Path, assignments: Iterable[str] = (), tell: Callable[[str], None] | None = None) -> RunPlan:
    """Return the plan of the config at `path` with "key=value" assignments applied; see `judges.plans.reading`.

    Args:
        path: of the config.
        assignments: what overrides it.
        tell: called with a note on keys of the config that the assignments make void.
    """
    return plan_of(read_config(path, assignments, kind_of(read_toml(path)).tables, tell))
