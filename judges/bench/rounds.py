"""Runs an experiment over rounds: each threat is a run of its own kind in a folder of its own, on the same federations.

The run of the first threat trains the federations. Those of the others are given its global models, and captures and
sealed batches where they are about updates as well, by hash, before they look for what is missing; so none is trained
twice, and each of these runs is whole by itself. What is here besides
are the rows of all threats against the rounds of training, and their page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl_sim.contents import Contents, contents_path, read_contents, write_contents
from fl_sim.files import atomic_write, sha256
from fl_sim.global_models import global_model_path, global_models, trained_model_path
from judges.bench.engine_options import EngineOptions
from judges.bench.execution import Execution
from judges.bench.folder import remove_run
from judges.bench.several import SeveralThreats
from judges.kinds import kind_of
from judges.plans.membership import MembershipPlan
from judges.plans.rounds import AnyPlan, RoundsPlan, names_of
from judges.progress import Watch
from judges.runs.manifest import THREATS


class RoundsRun(SeveralThreats[RoundsPlan]):
    """One experiment over rounds in one folder; its evidence are the finished runs of its threats."""

    def __init__(self, plan: RoundsPlan, folder: Path, watch: Watch, options: EngineOptions | None = None) -> None:
        super().__init__(plan, folder, watch, options)
        self.parts = {threat: self._execution(threat, one) for threat, one in plan.parts.items()}

    def check(self) -> None:
        """Check all that the runs of the threats check before they write anything."""
        super().check()
        for part in self.parts.values():
            part.check()

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder; a fresh run removes the runs of all threats, also of those that the config has no more."""
        if fresh and (self.folder / "config.toml").is_file():
            for threat in THREATS:
                remove_run(self.folder / threat)
        super().claim(fresh=fresh)

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {**super().facts(), "repeats": self.plan.base.repeats}

    def prepare(self, threat: str) -> None:
        """Give a threat's run what it reads of the federations that the first threat's run has trained."""
        first = next(iter(self.plan.parts))
        if threat == first:
            return
        trained, wanted = names_of(self.plan.parts[first]), names_of(self.plan.parts[threat])
        of_updates = isinstance(self.plan.parts[threat], MembershipPlan)
        for place, name in wanted.items():
            give(self.folder / first, trained[place], self.folder / threat, name, updates=of_updates)

    def _execution(self, threat: str, plan: AnyPlan) -> Execution[Any, Any, Any]:
        """Return the run of a threat, which is of a kind of experiment of its own."""
        bench: type[Execution[Any, Any, Any]] = kind_of(plan.raw).part("bench")
        return bench(plan, self.folder / threat, self.watch, self.options_of_parts)


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
