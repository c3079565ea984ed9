"""The skeleton of every kind of experiment: evidence -> cells x chunks -> jobs -> answers -> rows -> summary -> report.

Kinds differ in the origin of their evidence and in how an answer is judged. The rest is common to all and lives here:
claiming the folder, workers, resuming, smaller pieces where memory is short, failures, and when files are written.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from fl_sim.config import Raw, SimulationConfig
from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, open_engine
from judges.bench.federations import Federations
from judges.bench.folder import claim_folder, describe_run, made_by, outcome, remove_run
from judges.bench.process import check_device, prepare_process
from judges.kinds import RunPlan, kind_in, kind_of
from judges.progress import Watch
from judges.runs.integrity import (
    DERIVED,
    REPORT,
    STATEMENT,
    Finished,
    finished_in,
    renew_hashes,
    unlist_derived,
    write_hashes,
)
from judges.runs.lock import sole_writer
from judges.runs.manifest import FEDERATIONS, manifest_so_far, write_manifest

AnyPlan = TypeVar("AnyPlan", bound=RunPlan)
Evidence = TypeVar("Evidence")
Work = TypeVar("Work")


class Execution(abc.ABC, Generic[AnyPlan, Evidence, Work]):
    """One experiment in one folder.

    Args:
        plan: the experiment.
        folder: folder of its results; created if it does not exist.
        watch: shows progress.
        options: where its jobs run.
        name: name of the experiment; by default that of the plan.

    Attributes:
        before: the manifest that an earlier call left.
        finished: the files that earlier calls have finished.
        federations: those of the run, by what they must contain.
        seconds: wall time of each part, including earlier calls.
        failed: reasons of failure, by name of the cell.
        pieces: number of pieces into which a chunk of a cell was split, by name of the cell.
    """

    def __init__(
        self, plan: AnyPlan, folder: Path, watch: Watch, options: EngineOptions | None = None, *, name: str = ""
    ) -> None:
        self.plan = plan
        self.folder, self.watch = folder.resolve(), watch
        self.options = (options or EngineOptions()).settled(alone=_alone(plan))
        self.before: dict[str, Any] = {}
        self.finished = Finished()
        self.federations = Federations(self.folder, {}, {})
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.pieces: dict[str, int] = {}
        self.name = name or plan.base.name

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Carry out the plan and return the path of the report.

        Results of an earlier call are not computed again, unless a file of them is missing or changed. A cell for which
        memory does not suffice is left out, and the manifest says so. All checks precede the first change to the
        folder.

        Args:
            fresh: first remove the files of an earlier run from the folder, and nothing else.
            show_faces: whether the report shows pictures of real people.

        Raises:
            BusyError: another process writes in the folder.
            ConfigError: the options contradict each other, or the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt, and cannot be made again.
        """
        self.options.check()
        check_device(self.plan.base.device)
        prepare_process(self.plan.base.threads)
        with contextlib.ExitStack() as locks:  # which outlive the processes that write for this one
            if self.folder.is_dir():
                locks.enter_context(sole_writer(self.folder))
            with open_engine(self.options, self.plan.base.threads) as engine:  # its processes start during the checks
                self.check()
                locks.enter_context(sole_writer(self.folder))
                return self._carry_out(engine, fresh=fresh, show_faces=show_faces)

    def _carry_out(self, engine: Engine, *, fresh: bool, show_faces: bool) -> Path:
        """Do the work in a folder of which this process is the only writer; see `execute`."""
        if not fresh:
            self.finished = finished_in(self.folder)
            self.finished.check_basis(self.folder)
        self.claim(fresh=fresh)
        self._tell_of_other_versions()
        unlist_derived(self.folder)
        self.mend()
        self.watch.expect(self.tasks())
        started = [(evidence, self.start(engine, evidence)) for evidence in self.gather(engine)]
        for evidence, work in started:
            self.judge(evidence, work)
            self.write_tables()
        self.write_tables()
        self.finished.check_pictures(self.folder)
        page: Path = kind_of(self.plan.raw).part("report")(self.folder, show_faces=show_faces)
        write_hashes(self.folder, self.finished, self.makes)
        renew_statement(self.folder)
        return page

    def check(self) -> None:
        """Check all that can be checked before anything is removed or written."""

    def tasks(self) -> int:
        """Return how many tasks this call will show; 0 if that is not known."""
        return 0

    def mend(self) -> None:
        """Remove the files of earlier calls that have changed and that this call makes again, and name all of them."""
        again = [path for path in self.finished.flaws if self.makes(path)]
        rows = [path for path in self.finished.flaws if Path(path).parts[0] in DERIVED]
        others = self.finished.flaws.keys() - {*again, *rows} - self.federations.files()
        for paths, told in ((again, "is computed again"), (rows, "is written anew as far as this call can"),
                            (sorted(others), "stays, and `spikeleak verify` names it")):  # fmt: skip
            for path in paths:
                if path in others or (self.folder / path).exists():  # what somebody has removed is simply made again
                    self.watch.say(f"note: {path} {self.finished.flaws[path]}; it {told}.")
        for path in again:
            (self.folder / path).unlink(missing_ok=True)

    @abc.abstractmethod
    def makes(self, path: str) -> bool:
        """Return whether this call computes the answer or the model at a path below its folder, if it is not there."""

    @abc.abstractmethod
    def gather(self, engine: Engine) -> Iterator[Evidence]:
        """Yield the evidence in the order of the plan; cells whose evidence cannot be made go to `failed`."""

    @abc.abstractmethod
    def start(self, engine: Engine, evidence: Evidence) -> Work:
        """Start all unfinished attacks on a piece of evidence, and return what `judge` waits for."""

    @abc.abstractmethod
    def judge(self, evidence: Evidence, work: Work) -> None:
        """Wait for the attacks on a piece of evidence, and judge their answers and the controls."""

    @abc.abstractmethod
    def write_rows(self) -> None:
        """Write the rows known so far, and their summary."""

    @abc.abstractmethod
    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {}

    def clock_now(self) -> Mapping[str, float]:
        """Return the wall time of each part, including earlier calls."""
        return self.seconds

    def claim(self, *, fresh: bool) -> None:
        """Claim the folder for this experiment; a ConfigError if it holds another one."""
        if fresh:
            remove_run(self.folder)
        claim_folder(self.plan, self.folder)
        self.recall()

    def recall(self) -> None:
        """Read the manifest of an earlier call."""
        self.before = manifest_so_far(self.folder)
        self.federations = Federations(self.folder, self.before.get(FEDERATIONS), self.finished.listed)
        self.seconds, self.pieces = dict(self.before.get("seconds", {})), dict(self.before.get("pieces", {}))

    def _tell_of_other_versions(self) -> None:
        """Say that results of an earlier call, which are kept, were made with other versions than this one has."""
        now = made_by({})["versions"]
        earlier = {name: was for name, was in self.before.get("versions", {}).items() if was != now.get(name)}
        if earlier:
            told = ", ".join(f"{name} {was} (now {now.get(name, 'not installed')})" for name, was in earlier.items())
            self.watch.say(
                f"note: results of an earlier call in {self.folder} are kept, and they were made with {told}. Equal "
                "numbers are expected from equal versions only; --fresh computes everything anew."
            )

    def clock(self, part: str, seconds: float) -> None:
        """Add to the wall time of a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def write_tables(self) -> None:
        """Write rows, summary and manifest as far as they are known."""
        self.write_rows()
        manifest = describe_run(self.plan, self.name, self.datasets(), self.clock_now(), self.before)
        manifest |= {**self.facts(), **outcome(self.folder, self.failed, self.pieces)}
        write_manifest(self.folder, manifest)


def renew_report(raw: Raw, folder: Path, *, show_faces: bool) -> Path:
    """Write report and statement of a run anew, now that its folder holds what stands beside it; return the report."""
    page: Path = kind_of(raw).part("report")(folder, show_faces=show_faces)
    renew_hashes(folder, REPORT)
    renew_statement(folder)
    return page


def renew_statement(folder: Path) -> None:
    """Write the statement of a run anew, if somebody has asked for one, so that none outlives its results."""
    if (folder / STATEMENT[0]).is_file():
        kind_in(folder).part("statement")(folder)
        renew_hashes(folder, STATEMENT)


def _alone(plan: AnyPlan) -> bool:
    """Return whether a run is better off in one process: on an accelerator, or where Flower starts a Ray of its own."""
    base = plan.base
    return bool(base.device != "cpu" or (isinstance(base, SimulationConfig) and base.federation.engine == "ray"))


def refuse_ray_in_ray(engine: str, options: EngineOptions) -> None:
    """Raise a ConfigError if federations that start their own Ray are to run in workers or with imported modules."""
    if engine == "ray" and options.imports:
        raise ConfigError(
            f'federation.engine: "ray" runs the clients in processes of Flower\'s own, which do not import '
            f'{", ".join(options.imports)}; set federation.engine to "local", or install your model as a package with '
            "an entry point spikeleak.models."
        )
    if engine == "ray" and options.apart:
        raise ConfigError(
            'federation.engine: "ray" lets Flower start a Ray of its own, so the run itself must stay in this '
            'process; leave out --workers and --engine, or set federation.engine to "local".'
        )


def run_plan(
    plan: RunPlan,
    folder: Path,
    watch: Watch,
    *,
    fresh: bool = False,
    show_faces: bool = False,
    options: EngineOptions | None = None,
) -> Path:
    """Carry out a plan of any kind and return the path of the report; see `Execution` and its `execute`."""
    execution: Execution[RunPlan, Any, Any] = kind_of(plan.raw).part("bench")(plan, folder, watch, options)
    return execution.execute(fresh=fresh, show_faces=show_faces)
