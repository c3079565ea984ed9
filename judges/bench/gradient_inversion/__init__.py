"""Runs an experiment of gradient inversion: federations, attacks, judgement.

A run folder holds config.toml, manifest.json, captures/, sealed/, models/, reconstructions/, gallery/, scores.csv,
summary.json, report.html, report.md and report.tex. Every file is written atomically, the answers of a chunk of victims
as soon as they are computed and the rows after each cell, so that an interruption loses no finished work.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from attacks.preflight.self_check import check_attackable
from fl_sim.captures import sealed_behind
from fl_sim.config import SimulationConfig
from fl_sim.config.federation import SUM_OF_CLIENTS
from fl_sim.contents import read_contents
from fl_sim.errors import DataError
from fl_sim.global_models import trained_model_path
from fl_sim.records import CapturedUpdate
from fl_sim.simulation import check_federation
from judges.bench.engines import Engine, Started
from judges.bench.execution import refuse_ray_in_ray
from judges.bench.gradient_inversion.cells import match_updates, starts_of
from judges.bench.gradient_inversion.updates import AttackedUpdates
from judges.bench.jobs import FederationJob, reconstruction_path
from judges.bench.targets import client_of, data_of
from judges.classifiers import check_judge
from judges.plans.gradient_inversion import Cell, Federation, Plan
from judges.runs.identity import NO_OP, SWAPPED
from judges.runs.manifest import ADDED_ROWS, FEDERATIONS, ROWS
from judges.runs.rows import Score, digests_of, finished_rows
from judges.scoring.audit.checks import left_out
from judges.scoring.truths import Evidence, Victim


class Run(AttackedUpdates[Plan]):
    """One experiment of gradient inversion in one folder."""

    def check(self) -> None:
        """Reject federations that cannot be run, and models that an attack of the plan cannot be pointed at."""
        refuse_ray_in_ray(self.plan.base.federation.engine, self.options)
        for federation in self.plan.federations:
            check_federation(federation.config)
            check_judge(self.plan.base.judge, data_of(federation.config), device=self.plan.base.device)
            self.read_auxiliary(federation, self.plan.cells_on(federation.label))
        pairs = [(self.plan.cells_on(one.label), client_of(one.config)) for one in self.plan.federations]
        check_attackable(client for cells, client in pairs if match_updates(cells))
        self.refuse_pairs((cell, client) for cells, client in pairs for cell in cells)

    def compare(self, evidence: Evidence, known: Iterable[Victim]) -> list[CapturedUpdate]:
        """Tell which clients are not scored, too."""
        before = set(self.session.unfit)
        captures = super().compare(evidence, known)
        for text in left_out(why for name, why in self.session.unfit.items() if name not in before):
            self.watch.say(f"warning: {text}")
        return captures

    def tasks(self) -> int:
        """Return the number of federations, and of attacks whose answers are not all there."""
        return len(self.plan.federations) + sum(map(self._attacks_left, self.plan.federations))

    def _attacks_left(self, federation: Federation) -> int:
        """Return how many attacks on a federation are not finished, as far as their files tell."""
        sources = {cell.kept.source for cell in self.plan.cells_on(federation.label)}
        if self.lacking(federation):
            return len(sources)
        ids = [victim.id for victim in self._evidence(federation).victims]
        paths = {source: [reconstruction_path(self.folder, source, name) for name in ids] for source in sources}
        return sum(not all(path.is_file() for path in answers) for answers in paths.values())

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
        kept = "" if jobs else " (kept from an earlier call)"
        with self.watch.task(f"federation {federation.label}{kept}") as advance:
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
        summed = federation.config.federation.observer == SUM_OF_CLIENTS
        victims = [
            Victim(key.id, key.round, repeat, sealed_behind(self.captures.stored(key.id)) if summed else ())
            for repeat, name in names.items()
            for key in self.captures.listed(name)
            if key.id in known[name]
        ]
        if not victims:
            raise DataError(f"{self.captures.folder}: expected captures of {federation.label}, found none.")
        models, contents = self.folder / "models", read_contents(self.folder, next(iter(names.values())))
        return Evidence(
            name=federation.label,
            attacked=federation.attacked,
            victims=tuple(victims),
            seed=federation.config.seed,
            model=self.captures.stored(victims[0].id).model,
            dataset=federation.config.dataset,
            models={name: trained_model_path(models, name) for name in names.values()},
            claims=contents.claims if contents is not None else (),
        )
