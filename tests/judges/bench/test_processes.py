"""What becomes of processes that are killed, and of those that work for them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from judges.bench.engine_options import EngineOptions
from judges.bench.engines import Started, open_engine
from tests import programs
from tests.judges.bench import sleepy
from tests.judges.bench.sleepy import DEADLY, Sleep


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def told(path: Path, patience: float = 60.0) -> str:
    """Return what a process has written to a file, once it has."""
    until = time.perf_counter() + patience
    while not (path.is_file() and path.read_text()):
        assert time.perf_counter() < until
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
@pytest.mark.endurance
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process = programs.start("-m", "tests.judges.bench.sleepy", tmp_path / "worker", session=True)
    try:
        worker = int(told(tmp_path / "worker"))
        assert is_alive(worker)
        process.kill()
        process.join()
        killed = time.perf_counter()
        while is_alive(worker):
            assert time.perf_counter() - killed < 5
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("deaths", "failure"),
    [
        (1, ""),
        pytest.param(99, "its process was killed while it started", marks=pytest.mark.endurance),
    ],
)
def test_a_worker_that_is_killed_while_it_starts_is_replaced_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, failure: str
) -> None:
    (tmp_path / "starts").mkdir()
    monkeypatch.setenv(DEADLY, f"{tmp_path / 'starts'}:{deaths}")
    with open_engine(EngineOptions(imports=(sleepy.__name__,)), 1, apart=True) as engine:
        outcome = Started(engine, Sleep(tmp_path / "worker", 0.0)).finish(lambda _done, _total: None)
    assert outcome.failure.startswith(failure)
    assert bool(outcome.failure) is bool(failure)
    assert (tmp_path / "worker").is_file() is not bool(failure)


@pytest.mark.endurance
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_end_a_command_as_ctrl_c_does(tmp_path: Path, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup")
    config = tmp_path / "long.toml"
    config.write_text(
        'judge = "none"\ndataset = {name = "digits", size = 12}\nmodel = "lenet"\n'
        'attack = {name = "dlg", iterations = 30000, tolerance_change = 0.0, loss_tolerance = 0.0}\n'
    )
    with (tmp_path / "told").open("w") as stream:
        process = programs.start(
            programs.COMMAND, "run", config, "--out", tmp_path / "run", "--quiet", stderr=stream.fileno()
        )
    told(tmp_path / "run" / "config.toml")
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 130
    assert "the same command goes on from there" in (tmp_path / "told").read_text()
    assert "Traceback" not in (tmp_path / "told").read_text()
