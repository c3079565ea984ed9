"""What experiments with several threats have in common: each threat is a run of its own in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fl_sim.datasets.examples import Dataset
from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Engine
from judges.bench.execution import Execution
from judges.kinds import RunPlan
from judges.progress import Watch
from judges.runs.manifest import FAILED, RUNS_OF_THREATS, manifest_so_far
from judges.runs.rows.rounds import RoundScore
from judges.runs.tables import write_rows
from judges.summaries.rounds import round_scores, summarise_rounds, write_rounds

Plan = TypeVar("Plan", bound=RunPlan)


class SeveralThreats(Execution[Plan, str, None]):
    """Runs of several threats and what they say together; its evidence are the finished runs.

    Attributes:
        parts: {threat: its run}, set before they are carried out.
        options_of_parts: where their jobs run.
    """

    def __init__(
        self, plan: Plan, folder: Path, watch: Watch, options: EngineOptions | None = None, *, name: str = ""
    ) -> None:
        super().__init__(plan, folder, watch, name=name)  # the jobs are those of the threats' runs
        self.options_of_parts = options or EngineOptions()
        self.parts: dict[str, Execution[Any, Any, Any]] = {}
        self._show_faces = False
        self._done: dict[str, Path] = {}

    def execute(self, *, fresh: bool = False, show_faces: bool = False) -> Path:
        """Carry out the plan of each threat, then write what they say together; see `Execution`."""
        self._show_faces = show_faces
        return super().execute(fresh=fresh, show_faces=show_faces)

    def check(self) -> None:
        """Check the options of the threats' runs."""
        self.options_of_parts.check()

    def makes(self, path: str) -> bool:  # noqa: ARG002 - no file is an answer
        """Return False: the answers are in the folders of the threats."""
        return False

    def prepare(self, threat: str) -> None:
        """Do what must be done before the run of a threat."""

    def gather(self, engine: Engine) -> Iterator[str]:  # noqa: ARG002 - each threat's run has its own
        """Carry out the run of each threat, and yield its name."""
        for threat, part in self.parts.items():
            started = time.perf_counter()
            self.prepare(threat)
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
        return {name: data for part in self.parts.values() for name, data in part.datasets().items()}

    def facts(self) -> Mapping[str, Any]:
        """Return further entries of the manifest."""
        return {RUNS_OF_THREATS: list(self.parts)}
