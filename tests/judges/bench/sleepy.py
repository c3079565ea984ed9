"""A job that tells its process and then takes its time; imported in a worker it may end its process at once.

This file imports nothing of ours, so that a worker that takes the job starts soon.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEADLY = "SPIKELEAK_TEST_DEADLY"
"""Variable: a folder in which a worker that imports this leaves a file; as often as there are fewer, it is killed."""


@dataclass(frozen=True)
class Sleep:
    """Write the id of its process to a file, then sleep."""

    path: Path
    seconds: float

    def run(self, advance: Callable[[int, int], None]) -> None:
        self.path.write_text(str(os.getpid()))
        time.sleep(self.seconds)
        advance(1, 1)

    def smaller(self) -> None:
        return None


def die_while_starting() -> None:
    folder, _, most = os.environ[DEADLY].rpartition(":")
    starts = len(list(Path(folder).iterdir()))
    (Path(folder) / str(os.getpid())).touch()
    if starts < int(most):
        os.kill(os.getpid(), signal.SIGKILL)


if DEADLY in os.environ and multiprocessing.parent_process() is not None:
    die_while_starting()

if __name__ == "__main__":
    from judges.bench.engine_options import EngineOptions
    from judges.bench.engines import open_engine

    with open_engine(EngineOptions(), 1, apart=True) as engine:
        engine.start(Sleep(Path(sys.argv[1]), 60.0))(lambda _done, _total: None)
