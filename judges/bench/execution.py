"""The skeleton of every kind of experiment: evidence -> cells x chunks -> jobs -> answers -> rows -> summary -> report.

Kinds differ in where the evidence comes from and in how an answer is judged. Whose folder it is, workers, resuming,
smaller pieces where memory lacks, what failed, and when files are written is the same for all, and stands here.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from fl_sim.datasets.examples import Dataset
from fl_sim.errors import ConfigError
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine, open_engine
from judges.bench.folder import claim_folder, describe_run, outcome, remove_run
from judges.bench.process import check_device, prepare_process
from judges.kinds import RunPlan, kind_of
from judges.progress import Watch
from judges.runs.integrity import write_hashes
from judges.runs.manifest import manifest_so_far, write_manifest

Evidence = TypeVar("Evidence")
Work = TypeVar("Work")


class Execution(abc.ABC, Generic[Evidence, Work]):
    """One experiment in one folder.

    Args:
        plan: the experiment.
        folder: of its results; made where it is missing.
        watch: shows progress.
        options: where its jobs are done.
        name: of the experiment; as the plan says where not given.

    Attributes:
        before: the manifest that an earlier call left.
        seconds: wall time of each part, of earlier calls too.
        failed: why a cell could not be done, by name.
        pieces: into how many pieces a chunk of a cell was cut, by name.
    """

    def __init__(
        self, plan: RunPlan, folder: Path, watch: Watch, options: EngineOptions | None = None, *, name: str = ""
    ) -> None:
        self.folder, self.watch, self.options = folder.resolve(), watch, options or EngineOptions()
        self.before: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.pieces: dict[str, int] = {}
        self.name = name or plan.base.name
        self._plan = plan

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Do what the plan says and return the path of the report.

        What an earlier call has finished is not done again. A cell for which the memory does not suffice is left out,
        and the manifest says so. What can be refused is refused before anything is removed or written.

        Args:
            fresh: remove what an earlier run left in the folder first, and nothing else.
            show_faces: whether the report shows pictures of real people.

        Raises:
            ConfigError: the options do not go together, or the folder holds another experiment.
            DataError: a data set or a file of the run is missing or corrupt.
        """
        self.options.check()
        check_device(self._plan.base.device)
        prepare_process(self._plan.base.threads)
        self.check()
        self.claim(fresh=fresh)
        with open_engine(self.options, self._plan.base.threads) as engine:
            started = [(evidence, self.start(engine, evidence)) for evidence in self.gather(engine)]
            for evidence, work in started:
                self.judge(evidence, work)
                self.write_tables()
        self.write_tables()
        page: Path = kind_of(self._plan.raw).part("report")(self.folder, show_faces=show_faces)
        write_hashes(self.folder)
        return page

    def check(self) -> None:
        """Refuse what can be refused before anything is removed or written."""

    @abc.abstractmethod
    def gather(self, engine: Engine) -> Iterator[Evidence]:
        """Yield what is attacked, in the order of the plan; `failed` gets the cells of what could not be made."""

    @abc.abstractmethod
    def start(self, engine: Engine, evidence: Evidence) -> Work:
        """Start all attacks on a piece of evidence that are not done, and return what waits for them."""

    @abc.abstractmethod
    def judge(self, evidence: Evidence, work: Work) -> None:
        """Wait for the attacks on a piece of evidence, and judge their answers and the controls."""

    @abc.abstractmethod
    def write_rows(self) -> None:
        """Write the rows and their summary, as far as they are known."""

    @abc.abstractmethod
    def datasets(self) -> Mapping[str, Dataset]:
        """Return the data sets that were read, by name."""

    def facts(self) -> Mapping[str, Any]:
        """Return what else the manifest says."""
        return {}

    def clock_now(self) -> Mapping[str, float]:
        """Return the wall time of each part, of earlier calls too."""
        return self.seconds

    def claim(self, *, fresh: bool) -> None:
        """Take the folder for this experiment.

        Raises:
            ConfigError: the folder holds another experiment.
        """
        if fresh:
            remove_run(self.folder)
        claim_folder(self._plan, self.folder)
        self.recall()

    def recall(self) -> None:
        """Read what an earlier call left on record."""
        self.before = manifest_so_far(self.folder)
        self.seconds, self.pieces = dict(self.before.get("seconds", {})), dict(self.before.get("pieces", {}))

    def clock(self, part: str, seconds: float) -> None:
        """Add to the wall time of a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def write_tables(self) -> None:
        """Write what is known so far: rows, summary, manifest."""
        self.write_rows()
        manifest = describe_run(self._plan, self.name, self.datasets(), self.clock_now(), self.before)
        manifest |= {**self.facts(), **outcome(self.folder, self.failed, self.pieces)}
        write_manifest(self.folder, manifest)


def refuse_ray_in_ray(engine: str, options: EngineOptions) -> None:
    """Refuse workers for federations that start a Ray of their own.

    Raises:
        ConfigError: they do.
    """
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
    """Do what a plan says, of whatever kind, and return the path of the report; see `Execution.execute`.

    Args:
        plan: the experiment.
        folder: of its results.
        watch: shows progress.
        fresh: remove what an earlier run left there, and nothing else.
        show_faces: whether the report shows pictures of real people.
        options: where its jobs are done.
    """
    execution: Execution[Any, Any] = kind_of(plan.raw).part("bench")(plan, folder, watch, options)
    return execution.execute(fresh=fresh, show_faces=show_faces)
