"""The command line's options for where jobs run. Importing this does not import torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from fl_sim.errors import ConfigError, unknown_name
from fl_sim.extras import require

LOCAL, RAY = "local", "ray"
_MOST_UNASKED = 2
_ADDRESS = re.compile(r"(ray://)?\S+:\d{1,5}")


@dataclass(frozen=True)
class EngineOptions:
    """Where jobs run. This is not part of an experiment's config, since it does not change the results.

    Attributes:
        name: "local", or "ray" for a running Ray cluster.
        workers: number of worker processes; 1 runs all jobs in this process, None is what `settled` finds. Ignored on a
            Ray cluster.
        ray_address: address of the cluster, "HOST:PORT"; "" for the one that Ray finds.
        imports: modules that other processes import first, such as one that adds a model to `MODELS`.
        isolate: whether gradient inversions run in processes that see neither the run's folder nor the data, see
            `judges.bench.apart`.
    """

    name: str = LOCAL
    workers: int | None = 1
    ray_address: str = ""
    imports: tuple[str, ...] = ()
    isolate: bool = False

    @property
    def apart(self) -> bool:
        """Return whether jobs run in other processes than this one."""
        return self.name == RAY or (self.workers or 1) > 1

    def settled(self, *, alone: bool) -> EngineOptions:
        """Return these options with a number of workers.

        Args:
            alone: whether one process is what is wanted where nobody asked for more: on a device that processes would
                share, or where Flower starts a Ray of its own.
        """
        if self.workers is not None:
            return self
        return replace(self, workers=1 if alone or self.name == RAY else free_processes())

    def check(self) -> None:
        """Raise a ConfigError if the options contradict each other, or Ray is wanted and not installed."""
        if self.name not in (LOCAL, RAY):
            raise unknown_name("--engine", self.name, [LOCAL, RAY])
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers: expected at least 1, got {self.workers}.")
        if self.name == RAY and (self.workers or 1) > 1:
            raise ConfigError("--workers: a Ray cluster decides how many jobs it does at once; leave it out.")
        if self.ray_address and self.name != RAY:
            raise ConfigError(f"--ray-address: is read with --engine {RAY} only.")
        if self.ray_address and not _ADDRESS.fullmatch(self.ray_address):
            raise ConfigError(f"--ray-address: expected HOST:PORT such as 127.0.0.1:6379, got '{self.ray_address}'.")
        if self.name == RAY:
            require(RAY, f"--engine {RAY}")


def free_processes() -> int:
    """Return 2 where two cores have little else to do, otherwise 1.

    Half a core of other work is allowed, since a machine is never quite idle. Not more than two, since each process
    takes about a gigabyte.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return _MOST_UNASKED if cores - busy >= _MOST_UNASKED - 0.5 else 1
