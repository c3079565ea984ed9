"""Captured updates, attacked and scored: what a run, an added attack and an audit of gradient inversion share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from attacks import ATTACKS
from attacks.answers import refuse_pairs
from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from fl_sim.observed import assuming
from fl_sim.plugins import OURS
from fl_sim.records import CapturedUpdate
from judges.auxiliary import AuxiliaryData
from judges.bench.apart.calls import Apart, hidden_from_attacks
from judges.bench.apart.landlock import is_there
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.execution import Execution
from judges.bench.gradient_inversion.cells import Attacks, Start, at_least, match_updates, starts_of
from judges.bench.gradient_inversion.sanity import SanityChecks
from judges.plans.audit import AuditPlan
from judges.plans.gradient_inversion import Cell, Plan
from judges.progress import Watch
from judges.runs.identity import NO_OP, Group
from judges.runs.manifest import AUXILIARY, WARNINGS, auxiliary_data
from judges.runs.measures import Claimed, Readable, claimed
from judges.runs.names import control_cell, no_op_name
from judges.runs.rows import Score, write_scores
from judges.runs.timelines import load_timelines
from judges.scoring.audit.checks import left_out
from judges.scoring.session import Session
from judges.scoring.truths import Evidence, Victim
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
        self._claims: dict[Group, tuple[Claimed, ...]] = {}

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

    def refuse_pairs(self, pairs: Iterable[tuple[Cell, CapturedUpdate]]) -> None:
        """Raise the ConfigError of an attack that does not take a victim, a captured update or a stand-in for one.

        Attacks of others that run in other processes, as workers or kept apart, are not asked in this one.
        """
        is_here = not (self.options.isolate or self.options.apart)
        refuse_pairs(
            (cell.attack, cell.kept.settings, capture)
            for cell, capture in pairs
            if is_here or ATTACKS.origin(cell.attack) == OURS
        )

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
            self._claims[evidence.attacked.group] = claimed(evidence.attacked, evidence.claims)
        self.session.measure_distances(evidence)
        self.session.examine(evidence, self.captures)
        self.session.measure_accuracies(evidence)

    def write_rows(self) -> None:
        """Write the rows and their summary."""
        rows, session, seed = self.rows(), self.session, self.plan.base.seed
        write_scores(rows, self.folder / "scores.csv")
        session.timelines.write(self.folder)
        summary = summarise(
            rows,
            judges=session.facts(),
            distances=session.distances,
            health=session.health,
            timelines=load_timelines(self.folder, [(row.group, row.cell) for row in rows]),
            seed=seed,
        )
        summary = replace(
            summary,
            reads=tuple(self._reads.values()),
            checks=self.checks.of(summary),
            accuracies=session.accuracies,
            claims=tuple(claim for own in self._claims.values() for claim in own),
        )
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
