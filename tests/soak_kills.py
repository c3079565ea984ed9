"""A run that is killed at random moments and started again each time: what is lost, and what comes out in the end.

Run with `python -m tests.soak_kills [KILLS [OPTIONS OF RUN]]` (100 by default; `make soak`), such as `--workers 2` or
`--set federation.engine=ray`; tests/judges/bench/test_kills.py does it with few, and with fewer cells. A grid is run
once undisturbed and once under SIGKILLs. After each kill every file of results must be whole, none may be gone, and
what was finished must not be computed again but for the one cell in flight. The final rows must equal the undisturbed
run's to the last digit, wall times aside.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from attacks.contracts import Reconstruction
from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.records import TrainedModel, load_record
from judges.runs.comparison import scores_digest
from judges.runs.integrity import verify
from judges.runs.rows import read_scores
from tests import programs

CONFIG = """
name = "soak"
judge = "none"
dataset.name = "digits"
dataset.size = 8
model.name = ["lenet", "spiking_lenet"]
model.timesteps = 2
federation.clients = 2
attack.name = ["dlg", "idlg"]
attack.iterations = {budgets}
"""
BUDGETS = (1, 2, 3, 4, 5, 6)
CELLS_OF_A_BUDGET = 4


@dataclass
class Outcome:
    """What a soak found.

    Attributes:
        kills: how often the run was killed while it was at work.
        recomputed: most finished cells that a restart computed again.
        cells: in the final table, controls aside.
        equal: whether the final table is the undisturbed run's to the last byte, wall times aside.
        whole: whether the finished run's files are all as listed.
    """

    kills: int
    recomputed: int
    cells: int
    equal: bool
    whole: bool


def soak(
    kills: int, folder: Path, *, seed: int = 0, budgets: Sequence[int] = BUDGETS, options: Sequence[str] = ()
) -> Outcome:
    """Kill a run so often and let it come to its end.

    Their moments are spread evenly over the time that a run takes, each at random in its part of it.

    Args:
        kills: how often.
        folder: for the config and both runs.
        seed: of the moments.
        budgets: iterations; there are `CELLS_OF_A_BUDGET` cells of each.
        options: further options of `spikeleak run`.

    Raises:
        AssertionError: after a kill a file is not whole, or a row is gone.
    """
    config = folder / "soak.toml"
    config.write_text(CONFIG.format(budgets=list(budgets)))
    started = time.perf_counter()
    _finish(_start(config, folder / "calm", options))
    longest, disturbed, recomputed = time.perf_counter() - started, folder / "disturbed", 0
    draws = random.Random(seed)  # noqa: S311 - no secret
    moments = [(part + draws.random()) / kills for part in draws.sample(range(kills), kills)]
    while moments:
        before = _finished(disturbed)
        process, started = _start(config, disturbed, options), time.perf_counter()
        process.join(moments[-1] * longest)
        if process.exitcode is None:
            process.kill()
            process.join()
            moments.pop()
        else:
            longest = min(longest, time.perf_counter() - started)  # there was less to do
        after = _finished(disturbed)
        gone = sorted(before.keys() - after.keys())
        assert not gone, f"gone after {kills - len(moments)} kills: {gone}"
        recomputed = max(recomputed, len({path.parts[1:3] for path, when in before.items() if after[path] != when}))
        check_whole(disturbed)
        if (disturbed / "files.sha256").is_file():
            _start_anew(disturbed, draws)
    _finish(_start(config, disturbed, options))
    cells = {row.cell for row in read_scores(disturbed / "scores.csv") if not row.is_control}
    equal = scores_digest(folder / "calm") == scores_digest(disturbed)
    return Outcome(kills, recomputed, len(cells), equal, verify(disturbed).is_sound)


def check_whole(folder: Path) -> None:
    """Read every file of results; a half one raises."""
    for store in (CaptureStore(folder / "captures"), SealedStore(folder / "sealed")):
        for key in store.ids():
            store.load(key)
    for path in (folder / "models").rglob("*.safetensors"):
        load_record(TrainedModel, path)
    for path in (folder / "reconstructions").rglob("*.safetensors"):
        load_record(Reconstruction, path)
    if (folder / "scores.csv").is_file():
        read_scores(folder / "scores.csv")


def _finished(folder: Path) -> dict[Path, int]:
    """Return when each reconstruction was last written."""
    paths = (folder / "reconstructions").rglob("*.safetensors")
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in paths}


def _start_anew(folder: Path, draws: random.Random) -> None:
    """Take half of the cells out of a finished run, so that there is something to do for the next one."""
    for cell in sorted((folder / "reconstructions").glob("*/*")):
        if draws.random() < 0.5:
            shutil.rmtree(cell)
    (folder / "files.sha256").unlink()


def _start(config: Path, folder: Path, options: Sequence[str]) -> ForkServerProcess:
    return programs.start(programs.COMMAND, "run", config, "--out", folder, "--quiet", *options)


def _finish(process: ForkServerProcess) -> None:
    """Wait for a run that is not disturbed."""
    process.join()
    assert process.exitcode == 0, f"a run ended with exit code {process.exitcode}"


def main(kills: str = "100", *options: str) -> None:
    """Soak and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = soak(int(kills), Path(folder), options=options)
        print(f"{found.kills} kills in {time.perf_counter() - started:.0f} s: {found}")  # noqa: T201 - a script's result


if __name__ == "__main__":
    main(*sys.argv[1:])
