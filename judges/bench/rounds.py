"""Runs an experiment over rounds: each threat is a run of its own kind in a folder of its own, on the same federations.

The run of the first threat trains the federations. Those of the others are given its global models, and captures and
sealed batches where they are about updates as well, by hash, before they look for what is missing; so none is trained
twice, and each of these runs is whole by itself. What is here besides
are the rows of all threats against the rounds of training, and their page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fl_sim.contents import Contents, contents_path, read_contents, write_contents
from fl_sim.datasets.examples import Dataset
from fl_sim.files import atomic_write, sha256
from fl_sim.global_models import global_model_path, global_models, trained_model_path
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.execution import Execution
from judges.bench.folder import remove_run
from judges.kinds import kind_of
from judges.plans.membership import MembershipPlan
from judges.plans.rounds import AnyPlan, RoundsPlan, names_of
from judges.progress import Watch
from judges.runs.manifest import FAILED, RUNS_OF_THREATS, THREATS, manifest_so_far
from judges.runs.rows.rounds import RoundScore
from judges.runs.tables import write_rows
from judges.summaries.rounds import round_scores, summarise_rounds, write_rounds


class RoundsRun(Execution[RoundsPlan, str, None]):
    """One experiment over rounds in one folder; its evidence are the finished runs of its threats."""

    def __init__(self, plan: RoundsPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch)  # the jobs are those of the threats' runs
        self._theirs = options or EngineOptions()
        self._fresh = self._show_faces = False
        self._done: dict[str, Path] = {}
        self._parts = {threat: self._execution(threat, one) for threat, one in plan.parts.items()}

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Carry out the plan of each threat, then write what they say together; see `Execution`."""
        self._fresh, self._show_faces = fresh, show_faces
        return super().execute(fresh=fresh, show_faces=show_faces)

    def check(self) -> None:
        """Check all that the runs of the threats check before they write anything."""
        self._theirs.check()
        for part in self._parts.values():
            part.check()

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder; a fresh run removes the runs of all threats, also of those that the config has no more."""
        if fresh and (self.folder / "config.toml").is_file():
            for threat in THREATS:
                remove_run(self.folder / threat)
        super().claim(fresh=fresh)

    def makes(self, path: str) -> bool:  # noqa: ARG002 - no file is an answer
        """Return False: the answers are in the folders of the threats."""
        return False

    def gather(self, engine: Engine) -> Iterator[str]:  # noqa: ARG002 - each threat's run has its own
        """Carry out the run of each threat, and yield its name."""
        for threat, part in self._parts.items():
            started = time.perf_counter()
            self._share(threat)
            part.execute(show_faces=self._show_faces)
            self.seconds[threat] = self.seconds.get(threat, 0.0) + time.perf_counter() - started
            self._done[threat] = part.folder
            yield threat

    def start(self, engine: Engine, evidence: str) -> None:
        """Do nothing: the attacks were those of the threat's own run."""

    def judge(self, evidence: str, work: None) -> None:  # noqa: ARG002 - as `start`
        """Note which cells of a threat could not be computed."""
        failed = manifest_so_far(self.folder / evidence).get(FAILED, {})
        self.failed |= {f"{evidence}: {cell}": str(why) for cell, why in failed.items()}

    def write_rows(self) -> None:
        """Write the rows of the threats that are done, and their summary."""
        rows = round_scores(self._done, self.name)
        write_rows(RoundScore, rows, self.folder / "scores.csv")
        write_rounds(summarise_rounds(rows), self.folder / "summary.json")

    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""
        return {name: data for part in self._parts.values() for name, data in part.datasets().items()}

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {RUNS_OF_THREATS: list(self.plan.parts), "repeats": self.plan.base.repeats}

    def _execution(self, threat: str, plan: AnyPlan) -> Execution[Any, Any, Any]:
        """Return the run of a threat, which is of a kind of experiment of its own."""
        bench: type[Execution[Any, Any, Any]] = kind_of(plan.raw).part("bench")
        return bench(plan, self.folder / threat, self.watch, self._theirs)

    def _share(self, threat: str) -> None:
        """Give a threat's run what it reads of the federations that the first threat's run has trained."""
        first = next(iter(self.plan.parts))
        if threat == first:
            return
        trained, wanted = names_of(self.plan.parts[first]), names_of(self.plan.parts[threat])
        of_updates = isinstance(self.plan.parts[threat], MembershipPlan)
        for place, name in wanted.items():
            give(self.folder / first, trained[place], self.folder / threat, name, updates=of_updates)


def give(source: Path, trained: str, folder: Path, name: str, *, updates: bool = False) -> None:
    """Copy the global models of a finished federation into the folder of another run, as a federation of that run.

    Nothing is written that is there already. A federation that has not finished is left out: the other run then fails
    or trains as it would by itself.

    Args:
        source: folder of the run that trained it.
        trained: its name there.
        folder: folder of the other run.
        name: its name there.
        updates: whether to copy captures and sealed batches as well; the federation must have the same name there,
            since their ids contain it.

    Raises:
        ValueError: updates are to be copied under another name.
    """
    if updates and name != trained:
        raise ValueError(f"expected captures of '{trained}' to keep that name, got '{name}'")
    contents = read_contents(source, trained)
    if contents is None or contents.unanswered or contents.flaw(source):
        return
    pairs = {trained_model_path(source / "models", trained): trained_model_path(folder / "models", name)}
    for number, path in global_models(source / "models", trained).items():
        pairs[path] = global_model_path(folder / "models", name, number)
    if updates:
        pairs = {source / path: folder / path for path in contents.files}
    files = {}
    for theirs, ours in pairs.items():
        digest = contents.files.get(theirs.relative_to(source).as_posix())
        if digest is None:  # of an earlier federation of that name
            continue
        if not ours.is_file() or sha256(ours) != digest:
            atomic_write(ours, theirs.read_bytes())
        files[ours.relative_to(folder).as_posix()] = digest
    claims = contents.claims if updates else ()
    given = Contents(sampled=contents.sampled, unanswered={}, files=dict(sorted(files.items())), claims=claims)
    if read_contents(folder, name) != given or not contents_path(folder, name).is_file():
        write_contents(given, folder, name)
