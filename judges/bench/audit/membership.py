"""Membership inference on recorded global models, in a folder of its own in that of the audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attacks import MEMBERSHIP_INFERENCES
from attacks.contracts import Observed
from fl_sim.config import validate
from fl_sim.config.federation import FederationSettings
from fl_sim.records import CapturedUpdate
from judges.bench.audit.models import RecordedModel
from judges.bench.audit.within import WithinAudit
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.membership.evidence import Evidence, keep_observed
from judges.bench.membership.run import MembershipRun
from judges.plans.audit.threats import MOST_CANDIDATES, make_recorded_membership_plan, model_settings
from judges.plans.membership import MemberPlan, MembershipConfig
from judges.progress import Watch
from judges.runs.names import group_label
from judges.scoring.membership.null import null_model, null_update, untrained
from judges.scoring.membership.recorded import Members, Others, Recorded
from judges.scoring.models.accuracy import held_out_accuracy

_BATCH, _RATE = 16, 0.1
"""Examples of a step and learning rate of the control's training where the captures tell none."""

_MOST_PASSES = 50


class RecordedMembership(WithinAudit, MembershipRun):
    """Membership inferences on recorded global models; see `MembershipRun`.

    Args:
        raw: the config of its folder.
        folder: of its results, in that of the audit.
        models: what may be attacked.
        sealed: {id of a captured update: ids of the sealed batches behind it}, as far as their truth fits them.
        others: examples that the model was not trained on.
        facts: further entries of the manifest.
        watch, options: as of every execution.
        members: examples that it was trained on, where they were not sealed.
        digest: hash of what lies in the folders of these.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        folder: Path,
        models: Sequence[RecordedModel],
        sealed: Mapping[str, Sequence[str]],
        others: Others,
        facts: Mapping[str, Any],
        watch: Watch,
        options: EngineOptions | None = None,
        *,
        members: Members | None = None,
        digest: str = "",
    ) -> None:
        plan = make_recorded_membership_plan(dict(raw))
        super().__init__(plan, folder, watch, options)
        self._others, self._told = others, dict(facts)
        needs_change = any(MEMBERSHIP_INFERENCES[cell.attack].updates for cell in plan.cells)
        self._reasons: list[str] = []
        self._models: list[tuple[RecordedModel, Recorded]] = []
        for one in models:
            names = tuple(dict.fromkeys(name for update in one.seen for name in sealed.get(update, ())))
            seed = plan.base.seed
            asked = Recorded(
                folder.resolve().parent, names, others, MOST_CANDIDATES, seed, seed + one.number, members, digest
            )
            reason = _reason(one, asked, needs_change=needs_change)
            self._reasons.append(reason)
            self._models += [] if reason else [(one, asked)]
        targets = {one.number: self._target(one) for one, _ in self._models}
        cells = {target.label: dataclasses.replace(plan.cells[0], target=target.label) for target in targets.values()}
        self._targets = targets
        self.plan = dataclasses.replace(plan, targets=tuple(targets.values()), cells=tuple(cells.values()))

    def lack(self) -> str:
        """Return why no model can be attacked, or ""."""
        return "" if self._models else next(filter(None, self._reasons), "no global model was recorded")

    def tasks(self) -> int:
        """Return the number of attacks, on the models and on the controls that never saw a candidate."""
        return 2 * len(self._models)

    def gather(self, engine: Engine) -> Iterator[Evidence]:  # noqa: ARG002 - the models exist
        """Store every model under attack, and one that never saw a candidate, and yield them."""
        for one, asked in self._models:
            target, seed = self._targets[one.number], asked.target_seed
            place, after, own = f"{target.name(seed)}{one.after}", one.after, (one.source, one.model.round)
            device = self.plan.base.device
            accuracy = held_out_accuracy(one.model, self._others.examples(), device=device)
            learned = held_out_accuracy(one.model, asked.learned(), device=device) if asked.members else None
            seen = Observed(place, one.spec, one.model.parameters, one.before)
            known = keep_observed(seen, self.folder)
            yield Evidence(
                target, seed, asked, place, known, *own, after=after, changes=bool(one.before),
                accuracies=(accuracy, learned),
            )  # fmt: skip
            place = f"{place}-null"
            known = keep_observed(_null(one, asked, place), self.folder)
            changes = one.last is not None
            yield Evidence(target, seed, asked, place, known, *own, after=after, changes=changes, null=True)

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {"repeats": len(self._models), "candidates": MOST_CANDIDATES, **self._told}

    def _target(self, one: RecordedModel) -> MemberPlan:
        base = self.plan.base.model_dump(include={"name", "task", "target", "seed", "threads", "device", "candidates"})
        config = validate(MembershipConfig, {**base, "model": model_settings(one.spec)})
        return MemberPlan(group_label(one.attacked), one.attacked, config)


def _reason(one: RecordedModel, asked: Recorded, *, needs_change: bool) -> str:
    """Return why a model cannot be attacked, or ""."""
    if not (asked.captures or asked.members):
        return "no client sealed what the recorded model was trained on, so nobody knows who was a member"
    if needs_change and not one.before:
        return "the attack compares two rounds, and the global model of the round before was not recorded"
    return asked.lack()


def _null(one: RecordedModel, asked: Recorded, place: str) -> Observed:
    """Return the control that never saw a candidate: trained as the clients train, or as well as may be."""
    if one.last is None:
        return null_model(one.spec, asked.apart(), place, seed=asked.target_seed)
    first = one.first.parameters if one.first is not None else untrained(one.spec, seed=asked.target_seed)
    return null_update(_of_null(one.last, one.model.round), one.spec, first, asked.apart(), place)


def _of_null(update: CapturedUpdate, rounds: int) -> FederationSettings:
    """Return how the control is trained: as the clients, over as many passes as theirs in all rounds, at most 50."""
    size = update.batch_size or _BATCH
    steps = update.local_steps or 1
    passes = update.epochs or -(-steps * size // max(update.num_examples, size))
    rate = update.learning_rate or _RATE
    return FederationSettings(
        learning_rate=rate, batch_size=size, local_epochs=max(1, min(_MOST_PASSES, rounds * passes))
    )
