"""Runs an experiment of membership inference.

A run folder holds config.toml, manifest.json, observed/, inferences/, scores.csv, summary.json and the report; of
federations also captures/, sealed/ and models/. An answer is saved as soon as it is computed, and trained models are in
the cache, so that an interruption loses no finished work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks import MEMBERSHIP_INFERENCES
from attacks.contracts import MembershipScores
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.records import load_record
from fl_sim.simulation import check_federation
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, Started
from judges.bench.execution import Execution, refuse_ray_in_ray
from judges.bench.jobs import FederationJob, kept_answer
from judges.bench.membership.evidence import ROOM, Evidence, central_evidence, federated_evidence, path_of
from judges.bench.membership.jobs import NULL as NULL_MODEL
from judges.bench.membership.jobs import TARGET, InferenceJob, Recipe, TrainJob, shadow_of
from judges.bench.membership.shadows import ShadowFederation
from judges.plans.membership import MemberPlan, MembershipCell, MembershipPlan
from judges.progress import Watch
from judges.runs.manifest import FEDERATIONS
from judges.runs.names import control_cell
from judges.runs.rows.classes import FEDERATION
from judges.runs.rows.membership import BLIND, NULL, RANDOM, MembershipScore
from judges.runs.tables import write_rows
from judges.scoring.membership.asked import Asked
from judges.scoring.membership.blind import blind_scores
from judges.scoring.membership.judge import judged, random_scores
from judges.summaries.membership import summarise, write_memberships

INFERENCES = "inferences"


@dataclass(frozen=True)
class Answer:
    """One attack on a model or an update: the path of its answer, and the job that computes it, None if it exists."""

    cell: MembershipCell
    path: Path
    job: Started | None


class MembershipRun(Execution[MembershipPlan, Evidence, Sequence[Answer]]):
    """One experiment of membership inference in one folder; see `Execution`."""

    def __init__(self, plan: MembershipPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options)
        self._datasets: dict[str, Dataset] = {}
        self._rows: list[MembershipScore] = []

    def check(self) -> None:
        """Reject missing or too small data sets, and federations that cannot be run."""
        refuse_ray_in_ray(self.plan.base.federation.engine, self.options)
        if self.options.isolate:
            raise ConfigError("--isolate: keeps gradient inversions apart; this is an experiment of membership.")
        for target in self.plan.targets:
            dataset = target.config.dataset.load()
            self._datasets[dataset.name] = dataset
            asked_of(target, target.config.seed, self.folder).check()
            if target.config.target == FEDERATION:
                check_federation(target.simulation(self.plan.base.seed))
                self._check_shadows(target)

    def _check_shadows(self, target: MemberPlan) -> None:
        """Reject shadow federations whose clients would hold too few examples; one is as large as all others."""
        asked = asked_of(target, target.config.seed, self.folder)
        for number, online in self.plan.shadows_of(target)[:1]:
            shadow = shadow_of(target.config, asked, number, online=online)
            if isinstance(shadow, ShadowFederation):
                try:
                    shadow.check()
                except ConfigError as error:
                    raise ConfigError(
                        f"shadow_training: shadow federations are of halves of the {target.config.own} auxiliary "
                        f"examples, and {error}"
                    ) from error

    def tasks(self) -> int:
        """Return the number of trainings, attacks and judgements; 0 where it depends on which clients answer."""
        if self.plan.base.target == FEDERATION:
            return 0
        seeds = sum(len(one.seeds) for one in self.plan.targets)
        attacks = sum(len(one.seeds) * len(self.plan.attacks_on(one)) for one in self.plan.targets)
        return 2 * (seeds + attacks) + sum(len(self.plan.shadows_of(one)) for one in self.plan.targets)

    def makes(self, path: str) -> bool:
        """Return whether a path is that of an answer, or of what was observed."""
        return path.startswith((f"{INFERENCES}/", f"{ROOM}/"))

    def gather(self, engine: Engine) -> Iterator[Evidence]:
        """Train the missing targets and shadow models, and yield all models and updates under attack."""
        trainings = {target.label: self._trainings(engine, target) for target in self.plan.targets}
        for target in self.plan.targets:
            failure = self._wait_for(trainings[target.label])
            for seed in target.seeds:
                asked, name = asked_of(target, seed, self.folder), target.name(seed)
                failure = failure or self._federation_failure(target, name)
                if failure:
                    self.failed |= {
                        f"{cell.name}, target seed {seed}": failure for cell in self.plan.attacks_on(target)
                    }
                elif target.config.target == FEDERATION:
                    yield from federated_evidence(target, seed, asked, self.folder)
                else:
                    yield from central_evidence(target, seed, asked, self.folder)

    def start(self, engine: Engine, evidence: Evidence) -> Sequence[Answer]:
        """Start all unfinished attacks on a model or an update that suit it."""
        answers = []
        for cell in self.plan.attacks_on(evidence.plan):
            if MEMBERSHIP_INFERENCES[cell.attack].updates and not evidence.changes:
                continue
            path = self.folder / INFERENCES / evidence.name / f"{cell.label}.safetensors"
            earlier = kept_answer(MembershipScores, path, self.watch)
            told = None if earlier is None else (earlier.observed_id, dict(earlier.settings))
            done = told == (evidence.id, cell.all_settings)
            observed = path_of(self.folder, evidence.name)
            job = InferenceJob(cell, evidence.plan.config, evidence.asked, observed, path, evidence.round)
            answers.append(Answer(cell, path, None if done else Started(engine, job)))
        return answers

    def judge(self, evidence: Evidence, work: Sequence[Answer]) -> None:
        """Wait for the attacks on a model or an update, and judge their answers and the controls that ask no model."""
        for answer in work:
            if self._finished(evidence, answer):
                control = {"control": NULL} if evidence.null else {}
                where = f"{evidence.kind}/{answer.cell.label}"
                where = control_cell(evidence.kind, f"{NULL} {answer.cell.label}") if evidence.null else where
                own = {"attack": answer.cell.attack, "attack_settings": answer.cell.varied, **control}
                context = self._context(evidence, where, shadows=answer.cell.shadows) | own
                self._rows.append(judged(load_record(MembershipScores, answer.path), evidence.asked, context))
        if not evidence.null:
            for name, scored in ((RANDOM, random_scores), (BLIND, blind_scores)):
                context = self._context(evidence, control_cell(evidence.kind, name), shadows=0)
                row = scored(evidence.asked, context | {"control": name})
                self._rows += [row] if row else []

    def write_rows(self) -> None:
        """Write the rows and their summary."""
        write_rows(MembershipScore, self._rows, self.folder / "scores.csv")
        write_memberships(summarise(self._rows), self.folder / "summary.json")

    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""
        return self._datasets

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        base = self.plan.base
        told = {"repeats": base.repeats, "candidates": base.candidates, "auxiliary_examples": base.own}
        return told | ({FEDERATIONS: self.federations.facts()} if base.target == FEDERATION else {})

    def _trainings(self, engine: Engine, target: MemberPlan) -> list[tuple[str, Started]]:
        """Start the trainings, or the federations, of targets of one kind, and of their shadow models."""
        started: list[tuple[str, Started]] = []
        for seed in target.seeds:
            asked, name = asked_of(target, seed, self.folder), target.name(seed)
            if target.config.target == FEDERATION:
                if self.federations.flaw(name):
                    self.federations.tell(name, self.watch)
                    job = FederationJob(target.simulation(seed), self.folder, name)
                    started.append((f"federation {name}", Started(engine, job)))
                continue
            for kind in (TARGET, NULL_MODEL):
                recipe = Recipe(target.config, asked, kind)
                started.append((f"{kind} {name}", Started(engine, TrainJob(recipe))))
        asked = asked_of(target, target.config.seed, self.folder)
        for number, online in self.plan.shadows_of(target):
            shadow = shadow_of(target.config, asked, number, online=online)
            told = f"shadow {number} of {target.label}, {'online' if online else 'offline'}"
            started.append((told, Started(engine, TrainJob(shadow))))
        return started

    def _wait_for(self, started: Sequence[tuple[str, Started]]) -> str:
        """Wait for trainings; return why the attacks on targets of their kind cannot be made, or ""."""
        failure = ""
        for told, job in started:
            with self.watch.task(told) as advance:
                outcome = job.finish(advance)
            self.clock("trainings", outcome.seconds)
            failure = failure or outcome.failure
        return failure

    def _federation_failure(self, target: MemberPlan, name: str) -> str:
        """Return why a federation cannot be attacked; "" if it has run, or the target is no federation."""
        if target.config.target != FEDERATION:
            return ""
        self.federations.check(name)
        return self.federations.flaw(name)

    def _finished(self, evidence: Evidence, answer: Answer) -> bool:
        """Wait for an answer; return whether it exists."""
        if answer.job is None:
            return True
        with self.watch.task(f"{answer.cell.label} on {evidence.name}") as advance:
            outcome = answer.job.finish(advance)
        self.clock("attacks", outcome.seconds)
        if outcome.failure:
            self.failed[f"{evidence.kind}/{answer.cell.label}, {evidence.name}"] = outcome.failure
        return not outcome.failure

    def _context(self, evidence: Evidence, cell: str, *, shadows: int) -> dict[str, Any]:
        """Return the columns of a row that identify what was attacked."""
        columns = {field.name: getattr(evidence.plan.attacked, field.name)
                   for field in dataclasses.fields(evidence.plan.attacked)}  # fmt: skip
        test, train = evidence.accuracies
        own = {"source": evidence.source, "round": evidence.round, "client": evidence.client}
        facts = {"target_seed": evidence.seed, "test_accuracy": test, "train_accuracy": train, "shadows": shadows}
        return {**columns, **own, **facts, "experiment": self.plan.base.name, "cell": cell}


def asked_of(target: MemberPlan, seed: int, folder: Path) -> Asked:
    """Return who is asked about of a target; of a federation, without the captures."""
    config = target.config
    place = folder if config.target == FEDERATION else Path()
    return Asked(config.dataset, config.target, config.candidates, config.own, config.seed, seed, place)
