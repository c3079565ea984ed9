"""What runs of both kinds of experiment share: whose folder it is, what an earlier call left, what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fl_sim.errors import ConfigError
from judges.bench.engine_options import RAY, EngineOptions
from judges.bench.process import check_device, prepare_process
from judges.plans.kinds import RunPlan
from judges.progress import Watch
from judges.runs.manifest import claim_folder, manifest_so_far, remove_run


class Execution:
    """One experiment in one folder.

    Args:
        plan: the experiment.
        folder: of its results; made where it is missing.
        watch: shows progress.
        options: where its jobs are done.

    Attributes:
        before: the manifest that an earlier call left.
        seconds: wall time of each part, of earlier calls too.
        failed: why a cell could not be done, by name.
        pieces: into how many pieces a chunk of a cell was cut, by name.
    """

    def __init__(self, plan: RunPlan, folder: Path, watch: Watch, options: EngineOptions | None) -> None:
        self.folder, self.watch, self.options = folder.resolve(), watch, options or EngineOptions()
        self.before: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.pieces: dict[str, int] = {}
        self._plan = plan

    def set_up(self) -> None:
        """Set up the process.

        Raises:
            ConfigError: the options do not go together, or the device is not there.
        """
        self.options.check()
        if self._plan.base.federation.engine == RAY and self.options != EngineOptions():
            raise ConfigError(
                'federation.engine: "ray" lets Flower start a Ray of its own, so the run itself must stay in this '
                'process; leave out --workers and --engine, or set federation.engine to "local".'
            )
        check_device(self._plan.base.device)
        prepare_process(self._plan.base.threads)

    def claim(self, *, fresh: bool) -> None:
        """Take the folder for this experiment; `fresh` removes what an earlier run wrote there, and nothing else.

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
