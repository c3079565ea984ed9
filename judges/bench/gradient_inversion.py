"""Runs an experiment of gradient inversion: federations, attacks, judgement.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html, report.md and report.tex. Every file is written atomically, the answers of a chunk of victims
as soon as they are computed and the rows after each cell, so that an interruption loses no finished work.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from attacks.contracts import Reconstruction
from attacks.preflight.self_check import check_attackable
from fl_sim.captures import CaptureStore
from fl_sim.config import SimulationConfig
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError, DataError
from fl_sim.global_models import trained_model_path
from fl_sim.observed import assuming
from fl_sim.records import CapturedUpdate
from fl_sim.simulation import check_federation
from judges.auxiliary import AuxiliaryData
from judges.bench.apart.calls import Apart, hidden_from_attacks
from judges.bench.apart.landlock import is_there
from judges.bench.cells import Attacks, SanityChecks, Start, at_least, match_updates, starts_of
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, Started
from judges.bench.execution import Execution, refuse_ray_in_ray
from judges.bench.jobs import FederationJob
from judges.bench.targets import client_of, data_of
from judges.classifiers import check_judge
from judges.plans.audit import AuditPlan
from judges.plans.gradient_inversion import Cell, Federation, Plan
from judges.progress import Watch
from judges.runs.identity import NO_OP, SWAPPED, Group
from judges.runs.manifest import ADDED_ROWS, AUXILIARY, FEDERATIONS, ROWS, WARNINGS, auxiliary_data
from judges.runs.measures import Readable
from judges.runs.names import control_cell, no_op_name
from judges.runs.rows import Score, digests_of, finished_rows, write_scores
from judges.scoring.audit.checks import left_out
from judges.scoring.session import Evidence, Session, Victim
from judges.scoring.updates.reads import readable
from judges.summaries.gradient_inversion import summarise, write_summary

Attacking = TypeVar("Attacking", bound=Plan | AuditPlan)


class AttackedUpdates(Execution[Attacking, Evidence, Attacks]):
    """Captured updates, attacked and scored: what a run, an added attack and an audit share; see `Execution`."""

    complete = True
    """Whether the truth of every capture must exist."""

    def __init__(
        self,
        plan: Attacking,
        folder: Path,
        watch: Watch,
        options: EngineOptions | None = None,
        *,
        name: str = "",
        public: str = "",
    ) -> None:
        super().__init__(plan, folder, watch, options, name=name)
        base = plan.base
        self.captures = CaptureStore(self.folder / "captures")
        self.session = Session(
            self.name, self.folder, base.judge, device=base.device, distances=base.class_distances, watch=watch
        )
        self.checks = SanityChecks(self.session, base.checks, watch)
        self._scores: list[Score] = []
        self._kept: list[Score] = []
        self._attacks: Attacks | None = None
        self.auxiliary = AuxiliaryData(base.seed, public)
        self._reads: dict[Group, Readable] = {}

    def cells_on(self, evidence: Evidence) -> list[Cell]:
        """Return the attacks on a piece of evidence."""
        return self.plan.cells_on(evidence.name)

    def attacks(self) -> Sequence[Cell]:
        """Return all attacks of this call."""
        return self.plan.cells

    def makes(self, path: str) -> bool:
        """Return whether a path is that of an answer of this call's attacks."""
        return any(path.startswith(f"reconstructions/{cell.kept.source}/") for cell in self.attacks())

    def starts_known(self, evidence: Evidence) -> dict[Start, Cell]:  # noqa: ARG002 - for added attacks
        """Return the starts of attacks whose no-op control is among the rows of an earlier call."""
        return {}

    def assumed(self) -> Mapping[str, Any]:
        """Return the facts about the clients to assume where their captures do not state them."""
        return {}

    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""
        return {**self.auxiliary.datasets, **self.session.datasets}

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest: which auxiliary data each attack has."""
        told = {**auxiliary_data(self.before), **self.auxiliary.told}
        doubts = left_out(self.session.unfit.values())
        return ({AUXILIARY: told} if told else {}) | ({WARNINGS: doubts} if doubts else {})

    def recall(self) -> None:
        """Read the manifest and the sanity checks of an earlier call."""
        super().recall()
        if "summary.json" not in self.finished.flaws:
            self.checks.recall(self.folder / "summary.json")

    def clock_now(self) -> Mapping[str, float]:
        """Return the wall time of each part, including earlier calls."""
        return {**self.seconds, "judges": self.seconds.get("judges", 0.0) + self.session.seconds}

    def start(self, engine: Engine, evidence: Evidence) -> Attacks:
        """Start all unfinished attacks on a piece of evidence, and return the attacks of the run."""
        if self._attacks is None:
            base = self.plan.base
            self._attacks = Attacks(
                self.folder,
                engine,
                self.watch,
                chunk=base.chunk,
                device=base.device,
                assumed=self.assumed(),
                public=self.auxiliary.public,
                apart=self._apart(evidence),
            )
        for cell in self.cells_on(evidence):
            self._attacks.start(evidence, cell)
        return self._attacks

    def _apart(self, evidence: Evidence) -> Apart | None:
        """Return how attacks are kept apart; None if the options do not ask for it."""
        if not self.options.isolate:
            return None
        if not is_there():
            self.watch.say("note: --isolate: without Landlock, data and truth stay readable by their paths.")
        roots = [evidence.dataset.root] if evidence.dataset is not None else []
        return Apart(self.options.imports, hidden_from_attacks(self.folder, roots))

    def judge(self, evidence: Evidence, work: Attacks) -> None:
        """Wait for the attacks on a piece of evidence, and judge their answers and the controls."""
        cells = self.cells_on(evidence)
        self.compare(evidence, self.session.open(evidence, complete=self.complete))
        self.examine(evidence)
        starts = starts_of(cells)
        ids = [victim.id for victim in self.session.known(evidence)]
        guesses = {start: self._guesses(evidence, work, cell, ids) for start, cell in starts.items()}
        for cell in cells:
            results, failure = work.results(evidence, cell)
            if failure:
                self.failed[cell.name] = failure
                continue
            self._judge_answers(evidence, cell, results, guesses[cell.guess, cell.tau])
            write_scores(self.rows(), self.folder / "scores.csv")
        self.pieces |= work.pieces
        self.clock("attacks", work.seconds)
        work.seconds = 0.0
        self._judge_controls(evidence, starts, guesses)
        for cell in cells:
            self.checks.make(evidence, cell, self.rows(), work)
        if self.checks.seconds:
            self.clock("sanity checks", self.checks.seconds)
            self.checks.seconds = 0.0

    def compare(self, evidence: Evidence, known: Iterable[Victim]) -> list[CapturedUpdate]:
        """Measure how far the updates of the truth are from the captured ones; return those whose truth is kept.

        Where no attack matches updates, a model for which they cannot be computed is no reason to stop.
        """
        captures = [self.victim(victim.id) for victim in known]
        try:
            self.session.compare(captures)
        except ConfigError:
            if match_updates(self.cells_on(evidence)):
                raise
        return [capture for capture in captures if self.session.knows(capture.id)]

    def victim(self, capture_id: str) -> CapturedUpdate:
        """Return a capture with all facts that an attack assumes."""
        return assuming(self.captures.load(capture_id), self.assumed())

    def examine(self, evidence: Evidence) -> None:
        """Take the measurements that accompany the rows: what can be read off, distances, health of the model."""
        if evidence.attacked.group not in self._reads:
            self._reads[evidence.attacked.group] = readable(evidence.attacked, map(self.victim, evidence.ids))
        self.session.measure_distances(evidence)
        self.session.examine(evidence, self.captures)

    def write_rows(self) -> None:
        """Write the rows and their summary."""
        rows, session, seed = self.rows(), self.session, self.plan.base.seed
        write_scores(rows, self.folder / "scores.csv")
        summary = summarise(rows, judges=session.facts(), distances=session.distances, health=session.health, seed=seed)
        summary = replace(summary, reads=tuple(self._reads.values()), checks=self.checks.of(summary))
        write_summary(summary, self.folder / "summary.json")

    def _guesses(self, evidence: Evidence, work: Attacks, cell: Cell, ids: Sequence[str]) -> list[Reconstruction]:
        """Return the initial guesses of an attack; if it fails without a step, so does its control."""
        guesses, failure = work.untouched(evidence, cell, ids)
        if failure:
            self.failed[control_cell(evidence.name, no_op_name(cell.guess, cell.tau))] = failure
        return guesses

    def _judge_answers(
        self, evidence: Evidence, cell: Cell, results: Sequence[Reconstruction], guesses: Sequence[Reconstruction]
    ) -> None:
        """Score those answers of a cell whose truth is known, beside swapped ones, and save pictures of all."""
        context = self.session.context(evidence, cell.name)
        context = replace(context, attack=cell.attack, attack_settings=cell.varied, guess=cell.guess)
        adversary = at_least(cell.adversary, cell.attack, self.captures.stored(evidence.ids[0]))
        context = replace(context, adversary=adversary, auxiliary=cell.auxiliary)
        scored = [result for result in results if self.session.knows(result.capture_id)]
        inputs = {guess.capture_id: guess.inputs for guess in guesses}
        captures = [self.victim(result.capture_id) for result in scored]
        self._scores += self.session.rows(evidence, context, scored, guesses=inputs, captures=captures, pictures=True)
        self._scores += self.session.swapped(evidence, replace(context, cell=cell.swapped), scored)
        self.session.show(evidence, context, [one for one in results if not self.session.knows(one.capture_id)])

    def _judge_controls(
        self, evidence: Evidence, starts: Mapping[Start, Cell], guesses: Mapping[Start, Sequence[Reconstruction]]
    ) -> None:
        """Score the controls that need no attack, and one no-op control for each way in which the attacks start."""
        known = self.starts_known(evidence)
        only = len({**known, **starts}) == 1
        for (guess, tau), cell in starts.items():
            if (guess, tau) in known:
                continue
            name = NO_OP if only else no_op_name(guess, tau)
            attack = "" if cell.starts_like_others else cell.attack
            self._scores += self.session.no_op(evidence, guesses[guess, tau], attack=attack, guess=guess, name=name)
        if starts and not known:
            self._scores += self.session.plain_controls(evidence)

    def rows(self) -> list[Score]:
        """Return the rows of this call, then those of an earlier call that it does not replace."""
        scored = {row.cell for row in self._scores}
        return [*self._scores, *(row for row in self._kept if row.cell not in scored)]


class Run(AttackedUpdates[Plan]):
    """One experiment of gradient inversion in one folder."""

    def check(self) -> None:
        """Reject federations that cannot be run, and models that no attack of the plan can be pointed at."""
        refuse_ray_in_ray(self.plan.base.federation.engine, self.options)
        for federation in self.plan.federations:
            check_judge(self.plan.base.judge, federation.config.dataset.name)
            check_federation(federation.config)
            self.read_auxiliary(federation, self.plan.cells_on(federation.label))
        check_attackable(
            client_of(federation.config)
            for federation in self.plan.federations
            if match_updates(self.plan.cells_on(federation.label))
        )

    def compare(self, evidence: Evidence, known: Iterable[Victim]) -> list[CapturedUpdate]:
        """Tell which clients are not scored, too."""
        before = set(self.session.unfit)
        captures = super().compare(evidence, known)
        for text in left_out(why for name, why in self.session.unfit.items() if name not in before):
            self.watch.say(f"warning: {text}")
        return captures

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder, and keep the rows of attacks that `spikeleak attack` added."""
        super().claim(fresh=fresh)
        planned = {name for cell in self.plan.cells for name in (cell.name, cell.swapped)}
        rows, lost = finished_rows(self.folder / "scores.csv", self.before.get(ADDED_ROWS, {}))
        added = self.before.get("added", {}).keys() - planned
        self.failed = {name: why for name, why in self.before.get("failed", {}).items() if name in added}
        if lost - planned or (added and ADDED_ROWS not in self.before):
            self.failed |= dict.fromkeys(
                added,
                "its rows in scores.csv are gone or changed; `spikeleak attack` with its settings scores it again",
            )
        else:
            self._kept = [row for row in rows if not self._is_planned(row, planned)]

    def gather(self, engine: Engine) -> Iterator[Evidence]:
        """Run the missing federations, and yield the captures of each."""
        lacking = {federation.label: self.lacking(federation) for federation in self.plan.federations}
        for name, _ in itertools.chain(*lacking.values()):
            self.federations.tell(name, self.watch)
        jobs = {
            label: {name: Started(engine, FederationJob(config, self.folder, name)) for name, config in repetitions}
            for label, repetitions in lacking.items()
        }
        for federation in self.plan.federations:
            if self._is_whole(federation, jobs[federation.label]):
                yield self._evidence(federation)

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        base = self.plan.base
        return {
            "repeats": base.repeats,
            "engine": base.federation.engine,
            FEDERATIONS: self.federations.facts(),
            **self.hashes_of_rows(),
            **super().facts(),
        }

    def hashes_of_rows(self) -> dict[str, dict[str, str]]:
        """Return the entries of the manifest on the rows of the run and of added attacks."""
        scored = digests_of(self._scores)
        return {ROWS: scored, ADDED_ROWS: digests_of(row for row in self.rows() if row.cell not in scored)}

    def read_auxiliary(self, federation: Federation, cells: Iterable[Cell]) -> None:
        """Read the auxiliary data of attacks on a federation."""
        self.auxiliary.read(cells, data_of(federation.config).spec, federation.config.dataset)

    def _is_planned(self, row: Score, planned: Collection[str]) -> bool:
        """Return whether the plan makes a row of an earlier call anew: in one of its cells, or as their control."""
        if row.control in ("", SWAPPED):
            return row.cell in planned
        federations = {federation.attacked.group: federation.label for federation in self.plan.federations}
        cells = self.plan.cells_on(federations.get(row.group, ""))
        return row.control != NO_OP or (row.guess, row.tau) in starts_of(cells)

    def lacking(self, federation: Federation) -> list[tuple[str, SimulationConfig]]:
        """Return (name, config) of the repetitions of a federation of which anything is missing or changed."""
        repetitions = [federation.repetition(repeat) for repeat in range(federation.repeats)]
        return [(name, config) for name, config in repetitions if self.federations.flaw(name)]

    def _is_whole(self, federation: Federation, jobs: Mapping[str, Started]) -> bool:
        """Wait for the repetitions of a federation, by name; if one fails, so do its cells."""
        with self.watch.task(f"federation {federation.label}") as advance:
            for done, (name, job) in enumerate(jobs.items()):
                outcome = job.finish(lambda _done, _total: None)
                self.clock("federations", outcome.seconds)
                if outcome.failure:
                    names = [cell.name for cell in self.plan.cells_on(federation.label)] or [federation.label]
                    self.failed |= dict.fromkeys(names, outcome.failure)
                    return False
                self.federations.check(name)
                advance(federation.repeats - len(jobs) + done + 1, federation.repeats)
        return True

    def _evidence(self, federation: Federation) -> Evidence:
        """Return the captures of all repetitions of a federation; a DataError if there are none."""
        names = {repeat: federation.repetition(repeat)[0] for repeat in range(federation.repeats)}
        known = {name: self.federations.captures(name) for name in names.values()}
        victims = [
            Victim(key.id, key.round, repeat)
            for repeat, name in names.items()
            for key in self.captures.listed(name)
            if key.id in known[name]
        ]
        if not victims:
            raise DataError(f"{self.captures.folder}: expected captures of {federation.label}, found none.")
        models = self.folder / "models"
        return Evidence(
            name=federation.label,
            attacked=federation.attacked,
            victims=tuple(victims),
            seed=federation.config.seed,
            model=self.captures.stored(victims[0].id).model,
            dataset=federation.config.dataset,
            models={name: trained_model_path(models, name) for name in names.values()},
        )
