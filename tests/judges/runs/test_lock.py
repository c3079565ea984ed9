"""One writer a folder: who comes second is told who is there, and whoever dies holds nothing."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from fl_sim.errors import BusyError
from judges.bench.audit.ladder import climb
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion.added import attack_run
from judges.plans.audit import read_audit
from judges.progress import Watch
from judges.runs.integrity import verify
from judges.runs.lock import HOLDER, LOCK, sole_writer
from tests import programs
from tests.judges.bench.test_gradient_inversion import quiet, run
from tests.judges.cli.test_runs import ask

RAW: dict[str, Any] = {
    "name": "locked",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": {"name": "mlp", "hidden": 8},
    "federation": {"clients": 1},
    "attack": {"name": "idlg", "iterations": 1},
    "judge": "none",
}
HOLD = """
import sys, time
from pathlib import Path
from judges.runs.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    Path(sys.argv[2]).write_text("held")
    time.sleep(60)
"""


def test_second_writers_and_readers_are_told_who_is_there_until_it_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, RAW)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    holder = programs.start("-c", HOLD, folder, tmp_path / "held")
    try:
        while not (tmp_path / "held").is_file():
            assert holder.is_alive()
            time.sleep(0.01)
        told = re.escape(f"process {holder.pid} on {socket.gethostname()} is writing in this folder")
        audit = read_audit(["attack.name=idlg", "ladder.examples=1"])
        for call in (
            lambda: run(folder, RAW),
            lambda: run(folder, RAW, fresh=True),
            lambda: attack_run(folder, ["attack.iterations=0"], quiet()),
            lambda: run_plan(audit, folder, quiet()),
            lambda: climb(audit, folder, Watch.silent(), options=None),
            lambda: ask("report", folder),
            lambda: ask("verify", folder),
        ):
            with pytest.raises(BusyError, match=told):
                call()
        assert {path: path.read_bytes() for path in before} == before
    finally:
        holder.kill()
        holder.join()
    assert {LOCK, HOLDER} <= {path.name for path in folder.iterdir()}
    run(folder, RAW)
    assert not {LOCK, HOLDER} & {path.name for path in folder.iterdir()}
    assert verify(folder).is_sound
    assert ask("verify", folder)[0] == 0


def test_the_holder_may_ask_again_and_a_folder_is_free_afterwards(tmp_path: Path) -> None:
    with sole_writer(tmp_path):
        with sole_writer(tmp_path):
            assert (tmp_path / HOLDER).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
        assert (tmp_path / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_still_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    run(folder, RAW)
    monkeypatch.setattr(
        os, "access", lambda _, mode: mode != os.W_OK
    )  # the tests may run as one who may write everywhere
    assert ask("verify", folder)[0] == 0
    with sole_writer(folder):
        assert ask("verify", folder)[0] == 0
