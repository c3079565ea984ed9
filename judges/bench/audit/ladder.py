"""Climbs the ladder of an audit or a run: its clients from the attacker's best case to their own setting.

The folder ladder/ in that of the audit holds captures/ and sealed/ of all rungs, and is audited like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fl_sim.captures import CaptureStore, capture_id
from fl_sim.defences import NO_DEFENCE
from fl_sim.errors import ConfigError
from fl_sim.models import MODELS
from fl_sim.observed import same_problem
from fl_sim.plugins import OURS
from fl_sim.records import CapturedUpdate
from fl_sim.specs import Scalar
from judges.bench import execution
from judges.bench.audit import Audit
from judges.bench.audit.costs import cost
from judges.bench.audit.threats import Threats
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import renew_report
from judges.bench.gradient_inversion.added import AddedAttack
from judges.kinds import RunPlan
from judges.plans.audit import AuditPlan, audit_of
from judges.plans.audit.weights import WeightsAuditPlan
from judges.plans.gradient_inversion import Plan
from judges.progress import Watch
from judges.runs.identity import AS_SENT, RUNG
from judges.runs.lock import sole_writer
from judges.runs.manifest import LADDER, threats_of
from judges.runs.names import group_label
from judges.scoring.audit.ladder import Ladder, Rung, ladder_of, seal
from judges.scoring.truths import Evidence, Victim


@dataclass(frozen=True)
class Step:
    """A rung, whose captures are in the folder of the ladder, and the evidence that it was made from."""

    rung: Rung
    above: Evidence


class Climb(NamedTuple):
    """The rungs of the captures that can share a call, and what these captures are."""

    above: Evidence
    ladder: Ladder


class LadderAudit(Audit):
    """The audit of a folder whose captures are those of rungs."""

    def __init__(
        self,
        plan: AuditPlan,
        folder: Path,
        watch: Watch,
        options: EngineOptions | None,
        steps: Sequence[Step],
        remarks: Sequence[str],
    ) -> None:
        super().__init__(plan, folder, watch, options)
        self._steps = steps
        self._remarks = list(remarks)

    def remarks(self) -> list[str]:
        """Return which rungs were left out, and why."""
        return self._remarks

    def assumed(self) -> Mapping[str, Scalar]:
        """Return nothing: all that was assumed of the clients is in the captures."""
        return {}

    def threats(self) -> Threats:
        """Return none: the further threats are to models that no rung changes."""
        return Threats()

    def groups(self) -> Iterator[Evidence]:
        """Yield the captures of each rung."""
        for step in self._steps:
            above, captures = step.above, step.rung.captures
            attacked = replace(above.attacked, varied={**above.attacked.varied, RUNG: step.rung.name})
            if not step.rung.defended:
                attacked = replace(attacked, defence=NO_DEFENCE, defence_settings={})
            for capture in captures:
                self.note_problem(capture)
            victims = tuple(Victim(capture.id, capture.round) for capture in captures)
            yield replace(above, name=group_label(attacked), attacked=attacked, victims=victims, models={})


def carried_out(
    plan: RunPlan,
    folder: Path,
    watch: Watch,
    *,
    options: EngineOptions | None = None,
    fresh: bool = False,
    show_faces: bool = False,
) -> Iterator[tuple[Path, Path]]:
    """Carry out a plan, and climb the ladder if it asks for one; yield page and folder of each, and of further threats.

    The arguments and errors are those of `judges.bench.execution.run_plan` and `climb`.
    """
    ladder = getattr(plan.base, "ladder", None)
    climbs = ladder is not None and ladder.examples > 0
    if climbs and isinstance(plan, AuditPlan):
        _foretell(plan, folder, watch, options)
    yield execution.run_plan(plan, folder, watch, fresh=fresh, show_faces=show_faces, options=options), folder
    if isinstance(plan, AuditPlan | WeightsAuditPlan):
        yield from ((folder / threat / "report.html", folder / threat) for threat in threats_of(folder))
    if climbs:
        yield climb(plan, folder, watch, options=options, show_faces=show_faces), folder / LADDER


def climb(
    plan: RunPlan, folder: Path, watch: Watch, *, options: EngineOptions | None, show_faces: bool = False
) -> Path:
    """Attack the clients of a finished audit or run on each rung of the ladder, and return the path of the report.

    Args:
        plan: of the audit, or of the run of gradient inversion; `plan.base.ladder` says how many examples to take.
        folder: of its results.
        watch: shows progress.
        options: where the jobs run.
        show_faces: whether the report shows pictures of real people.

    Raises:
        ConfigError: no client sealed its examples, or as of an audit.
        DataError: as of an audit.
        BusyError: another process writes in the folder.
    """
    with sole_writer(folder), sole_writer(folder / LADDER):
        return _climb(plan, folder, watch, options=options, show_faces=show_faces)


def _foretell(plan: AuditPlan, folder: Path, watch: Watch, options: EngineOptions | None) -> None:
    """Say, before an audit begins, how long its ladder takes at most; the errors are those of `climb`."""
    source = Audit(plan, folder, Watch.silent(), options)
    source.check()
    problems: dict[Hashable, list[CapturedUpdate]] = defaultdict(list)
    for climb_of in _climbs(source, plan.base.ladder.examples, folder):
        for capture in (one for rung in climb_of.ladder.rungs for one in rung.captures):
            problems[same_problem(capture)].append(capture)
    told = cost(
        plan.cells,
        [(own[0], len(own)) for own in problems.values()],
        who="after the audit, the attacks on the ladder",
        less="a lower ladder.examples takes fewer clients, one at least, and a lower attack.most_examples leaves large "
        "batches to what can be read without a search",
    )
    if told:
        watch.say(f"note: {told}")


def _climb(plan: RunPlan, folder: Path, watch: Watch, *, options: EngineOptions | None, show_faces: bool) -> Path:
    """Do the work of `climb` in folders of which this process is the only writer."""
    source: Audit | AddedAttack
    if isinstance(plan, Plan):
        source, above = AddedAttack(plan, folder, Watch.silent(), options, plan.cells), audit_of(plan.raw)
    else:
        assert isinstance(plan, AuditPlan)  # noqa: S101 - no other plan has a ladder
        source, above = Audit(plan, folder, Watch.silent(), options), plan
    source.check()
    found = _climbs(source, plan.base.ladder.examples, folder)
    steps = list(_steps(found, folder.resolve() / LADDER))
    remarks = [text for one in found for text in one.ladder.remarks]
    audit = LadderAudit(above, folder.resolve() / LADDER, watch, options, steps, remarks)
    page = audit.execute(show_faces=show_faces)
    renew_report(plan.raw, folder, show_faces=show_faces)
    return page


def _climbs(source: Audit | AddedAttack, examples: int, folder: Path) -> list[Climb]:
    """Return the rungs of all that is attacked; a ConfigError if no client sealed its examples."""
    found = []
    for evidence in source.evidence():
        known = source.session.open(evidence, complete=False)
        clients = source.compare(evidence, known)
        truths = {client.id: source.session.truth(client.id) for client in clients}
        ladder = ladder_of(
            clients,
            truths,
            source.session.mismatches,
            examples=examples,
            seed=evidence.seed,
            as_built=evidence.attacked.init == AS_SENT and MODELS.origin(evidence.model.architecture) != OURS,
        )
        found.append(Climb(evidence, ladder))
    if not any(one.ladder.rungs for one in found):
        raise ConfigError(
            f"ladder: the updates of its rungs are computed from what the clients sealed, and there is nothing in "
            f"{folder / 'sealed'}; let the clients seal their batches."
        )
    return found


def _steps(found: Sequence[Climb], folder: Path) -> Iterator[Step]:
    """Write the captures and the truth of all rungs, and yield the rungs, those of each piece of evidence together."""
    store, made = CaptureStore(folder / "captures"), 0
    for evidence, ladder in found:
        for number, rung in enumerate(ladder.rungs, start=1):
            made += 1
            ids = [capture_id(f"rung-{made:03d}", 1, index) for index in range(len(rung.captures))]
            captures = [
                replace(one, id=name, round=1, client=index)
                for index, (one, name) in enumerate(zip(rung.captures, ids, strict=True))
            ]
            for capture in captures:
                store(capture)
            seal(folder / "sealed", ids, rung.truths)
            yield Step(replace(rung, name=f"{number}: {rung.name}", captures=tuple(captures)), evidence)
