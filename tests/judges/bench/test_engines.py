"""The same experiment in one process, in several, and on a Ray cluster: the same bytes. What a lack of memory does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from attacks.contracts import Reconstruction
from fl_sim.errors import ConfigError
from fl_sim.files import sha256
from fl_sim.records import load_record
from judges.bench.engine_options import EngineOptions, free_processes
from judges.bench.execution import run_plan
from judges.bench.gradient_inversion import Run
from judges.cli import app
from judges.plans.gradient_inversion import make_plan
from judges.plans.model_inversion import make_inversion_plan
from judges.runs.manifest import manifest_so_far
from tests import programs
from tests.judges.bench.test_gradient_inversion import RAW, quiet

GRID = RAW | {"repeats": 2, "chunk": 3}
INVERSION = {
    "name": "engines",
    "task": "model_inversion",
    "dataset": {"name": "digits", "size": 16},
    "model": {"name": ["mlp", "spiking_mlp"], "hidden": 24, "timesteps": 3},
    "training": {"epochs": 1},
    "attack": {"iterations": 2},
    "attack_repeats": 2,
    "draws": 2,
    "judge": {"max_epochs": 1},
}


def answers(folder: Path) -> dict[str, torch.Tensor]:
    """Return what the attacks answered; the records hold wall times, so files differ."""
    paths = sorted((folder / "reconstructions").rglob("*.safetensors"))
    return {str(path.relative_to(folder)): load_record(Reconstruction, path).inputs for path in paths}


def results(folder: Path) -> dict[str, str]:
    """Return {file: hash} of what does not hold a wall time, and the hash of the scores."""
    kept = ("captures", "sealed", "models")
    files = {str(path.relative_to(folder)): sha256(path) for name in kept for path in (folder / name).rglob("*.*")}
    return files | {"scores": manifest_so_far(folder)["scores_sha256"]}


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the grid in one process."""
    folder = tmp_path_factory.mktemp("engines") / "alone"
    run_plan(make_plan(GRID), folder, quiet())
    return folder


@pytest.fixture(scope="module")
def alone(alone_folder: Path) -> dict[str, str]:
    """Return the results of the grid in one process."""
    return results(alone_folder)


@pytest.mark.endurance
@pytest.mark.parametrize("workers", [2, 4])
def test_two_and_four_workers_give_the_same_bytes_as_one_process(
    alone: dict[str, str], alone_folder: Path, tmp_path: Path, workers: int
) -> None:
    run_plan(make_plan(GRID), tmp_path / "run", quiet(), options=EngineOptions(workers=workers))
    assert results(tmp_path / "run") == alone
    assert len(answers(tmp_path / "run")) == 16
    for path, ours in answers(tmp_path / "run").items():
        assert torch.equal(ours, load_record(Reconstruction, alone_folder / path).inputs)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, load: float) -> None:
    """Let this process believe that it may use so many cores of a machine with that load."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))


@pytest.mark.parametrize(
    ("cores", "load", "processes"), [(1, 0.0, 1), (2, 0.0, 2), (2, 0.5, 2), (2, 0.6, 1), (16, 3.0, 2), (16, 15.0, 1)]
)
def test_two_processes_are_the_default_where_two_cores_are_free(
    monkeypatch: pytest.MonkeyPatch, cores: int, load: float, processes: int
) -> None:
    machine(monkeypatch, cores, load)
    assert free_processes() == processes


@pytest.mark.parametrize(
    ("settings", "asked", "processes"),
    [({}, None, 2), ({}, 1, 1), ({}, 3, 3), ({"federation": {"engine": "ray"}}, None, 1), ({"device": "mps"}, None, 1)],
)
def test_a_run_has_as_many_processes_as_were_asked_for_or_suit_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, object], asked: int | None, processes: int
) -> None:
    machine(monkeypatch, 2, 0.0)
    run = Run(make_plan(RAW | settings), tmp_path, quiet(), EngineOptions(workers=asked))
    assert run.options.workers == processes


@pytest.fixture
def cluster() -> Iterator[str]:
    """Start a Ray cluster of two cores and return its address."""
    ray = Path(sys.executable).with_name("ray")
    started = [str(ray), "start", "--head", "--num-cpus=2", "--port=0", "--include-dashboard=false",
               "--disable-usage-stats", "--object-store-memory=100000000"]  # fmt: skip
    told = subprocess.run(started, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"--address='([^']+)'", told)
    assert found is not None, told
    yield found[1]
    subprocess.run([str(ray), "stop", "--force"], capture_output=True, check=True, timeout=120)


@pytest.mark.ray
@pytest.mark.endurance
def test_a_ray_cluster_gives_the_same_bytes(alone: dict[str, str], tmp_path: Path, cluster: str) -> None:
    options = EngineOptions("ray", ray_address=cluster)
    run_plan(make_plan(GRID), tmp_path / "run", quiet(), options=options)
    assert results(tmp_path / "run") == alone


@pytest.mark.endurance
def test_model_inversion_in_two_workers_gives_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    scores = []
    for workers in (1, 2):
        monkeypatch.setenv("SPIKELEAK_CACHE", str(cache / str(workers)))  # so that both train their targets
        folder = tmp_path / str(workers)
        run_plan(make_inversion_plan(dict(INVERSION)), folder, quiet(), options=EngineOptions(workers=workers))
        scores.append(manifest_so_far(folder)["scores_sha256"])
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--engine", "rya"), "--engine: 'rya' is not known. Did you mean 'ray'?"),
        (("--workers", "0"), "--workers: expected at least 1, got 0."),
        (("--engine", "ray", "--workers", "2"), "--workers: a Ray cluster decides"),
        (("--ray-address", "127.0.0.1:1"), "--ray-address: is read with --engine ray only."),
        (("--engine", "ray", "--ray-address", "here"), "--ray-address: expected HOST:PORT"),
        (("--workers", "2", "--set", "federation.engine=ray"), 'federation.engine: "ray" lets Flower start'),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        CliRunner().invoke(app, ["run", _config(tmp_path), "--out", str(tmp_path / "run"), *arguments],
                           catch_exceptions=False)  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.endurance
def test_a_cluster_that_is_not_there_is_told_in_one_paragraph(tmp_path: Path) -> None:
    asked = ("run", _config(tmp_path), "--engine", "ray", "--ray-address", "127.0.0.1:1")
    done = programs.run(programs.COMMAND, *asked, cwd=tmp_path)
    assert done.returncode == ConfigError.exit_code
    assert "--ray-address: expected the address of a running Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr


# Ctrl-C


@pytest.mark.endurance
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("captures", [0, 4])
def test_ctrl_c_ends_in_five_seconds_and_the_run_goes_on_later(tmp_path: Path, workers: int, captures: int) -> None:
    """As soon as the run has a folder, and at work on attacks that nobody waits for."""
    config, folder, told = _config(tmp_path, iterations=3000), tmp_path / "run", tmp_path / "told"
    arguments = ("run", config, "--out", folder, "--workers", str(workers), "--quiet")
    with told.open("w") as stream:
        process = programs.start(programs.COMMAND, *arguments, stderr=stream.fileno(), session=True)
    assert process.pid is not None
    try:
        while not folder.exists() or len(list(folder.glob("captures/*/*.safetensors"))) < captures:
            assert process.is_alive()
            time.sleep(0.02)
        if captures:
            process.join(1.0)
        asked = time.perf_counter()
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does: all processes of the group get it
        process.join(60)
        assert time.perf_counter() - asked < 5
        assert process.exitcode == 130
        assert "Traceback" not in told.read_text()
        assert "the same command goes on from there" in told.read_text()
        assert _is_gone(process.pid), "a process of the group is left"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _is_gone(group: int, patience: float = 5.0) -> bool:
    """Return whether nobody of a process group is left, now or soon."""
    until = time.perf_counter() + patience
    while time.perf_counter() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _config(folder: Path, iterations: int = 2) -> str:
    path = folder / "grid.toml"
    path.write_text(f"""
        name = "grid"
        judge = "none"
        dataset = {{name = "digits", size = 12}}
        model = {{name = ["lenet", "spiking_lenet"], timesteps = 2}}
        attack = {{name = ["dlg", "idlg"], iterations = {iterations}, tolerance_change = 0.0, loss_tolerance = 0.0}}
    """)
    return str(path)
