"""A federation repeats bit for bit, on every engine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import pytest

from fl_sim.config import SimulationConfig, flatten, unflatten, validate
from fl_sim.contents import read_contents
from fl_sim.federation.settings import RunSettings
from fl_sim.simulation import run_federation
from tests import programs

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]


DEFENCES: dict[str, dict[str, str | float]] = {
    "none": {},
    "noise": {"name": "noise", "clipping_norm": 1.0, "noise_multiplier": 0.01},
}


def config_of(
    strategy: str = "FedSGD", defence: Mapping[str, object] | None = None, **federation: object
) -> SimulationConfig:
    tables = {"strategy": {"name": strategy}, "defence": dict(defence or {}), "federation": federation}
    return validate(SimulationConfig, tables)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def recorded(config: SimulationConfig, output: Path) -> dict[str, str]:
    run_federation(config, output=output, federation_id="f")
    return digests(output)


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
@pytest.mark.parametrize("strategy", ["FedSGD", "FedAvg", "FedAdam"])
def test_two_runs_write_the_same_bytes(strategy: str, defence: dict[str, str | float], tmp_path: Path) -> None:
    config = config_of(strategy, defence, rounds=2, clients=3)
    first = recorded(config, tmp_path / "first")
    assert len(first) == 6 + 2 + 6 + 1 + 1  # captures, sent models, sealed batches, trained model, contents
    assert recorded(config, tmp_path / "second") == first


def test_partial_participation_repeats_and_changes_from_round_to_round(tmp_path: Path) -> None:
    config = config_of("FedAvg", rounds=4, clients=10, fraction=0.5)
    first = recorded(config, tmp_path / "first")
    assert recorded(config, tmp_path / "second") == first
    clients = [{name[-15:-12] for name in first if f"sealed/f/r{number:03d}" in name} for number in range(1, 5)]
    assert [len(chosen) for chosen in clients] == [5] * 4
    assert len(set(map(frozenset, clients))) > 1


def test_a_seed_and_a_repetition_change_everything(tmp_path: Path) -> None:
    def of(**settings: int) -> dict[str, str]:
        config = validate(SimulationConfig, {**settings, "federation": {"clients": 2}})
        return recorded(config, tmp_path / str(settings))

    one, two, three = of(), of(seed=1), of(repeat=1)
    for name in set(one) & set(two) & set(three):
        assert len({one[name], two[name], three[name]}) == 3


def test_observing_changes_no_file_but_the_captures_and_their_list(tmp_path: Path) -> None:
    config = config_of("FedAvg", rounds=2, clients=3)
    observed = recorded(config, tmp_path / "observed")
    run_federation(config, output=tmp_path / "not", federation_id="f", observe=False)
    others = [
        {name: digest for name, digest in files.items() if not name.startswith(("captures/", "federations/"))}
        for files in (digests(tmp_path / "not"), observed)
    ]
    assert others[0] == others[1]
    contents = [read_contents(folder, "f") for folder in (tmp_path / "not", tmp_path / "observed")]
    assert contents[0] is not None
    assert contents[1] is not None
    assert contents[0].files == {name: digest for name, digest in contents[1].files.items() if "captures" not in name}
    assert contents[1].files == {name: digest for name, digest in observed.items() if "federations" not in name}


def test_the_run_config_is_the_default_config() -> None:
    settings = RunSettings(SimulationConfig())
    assert PYPROJECT["config"] == unflatten(settings.flat())
    assert flatten(SimulationConfig()).items() <= settings.flat().items()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def flower_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the environment of a SuperLink of these tests' own, offline, and stop it afterwards."""
    home = tmp_path_factory.mktemp("flower")
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    yield environment
    # Every process of this SuperLink has its own FLWR_HOME in its environment; no other process has.
    deadline = time.monotonic() + 10
    while own := list(processes_with(f"FLWR_HOME={home}")):
        for process in own:
            os.kill(process, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.5)


def processes_with(assignment: str) -> Iterator[int]:
    """Yield the ids of this user's processes whose environment holds the assignment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:  # not ours, or gone meanwhile
            continue
        if assignment.encode() in environment.split(b"\0") and not is_zombie:
            yield int(folder.name)


def flwr_run(environment: dict[str, str], run_config: dict[str, object]) -> subprocess.CompletedProcess[str]:
    clients = run_config["federation.clients"]
    settings = " ".join(f"{key}={json.dumps(value)}" for key, value in run_config.items())
    command = ["flwr", "run", ".", "--stream", "--run-config", settings]
    command += ["--federation-config", f"num-supernodes={clients} client-resources-num-cpus=1"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=480, check=False)


FEDERATION: dict[str, object] = {
    "clients": 3, "rounds": 2, "batch_size": 2, "local_steps": 2, "fraction": 0.7, "keep_every": 1
}  # fmt: skip
NOISE = DEFENCES["noise"]
UNEQUAL = {"partitioner": "dirichlet", "alpha": 0.3}
ON_RAY = """
import json, sys
from pathlib import Path
from fl_sim.simulation import run_federation
from fl_sim.config import SimulationConfig, validate
from fl_sim.contents import read_contents
run_federation(validate(SimulationConfig, json.loads(sys.argv[1])), output=Path("ray"), federation_id="f")
"""


@pytest.mark.endurance
@pytest.mark.ray
def test_every_engine_writes_the_same_bytes(tmp_path: Path, flower_home: dict[str, str]) -> None:
    """With a defence, so that a client's noise is the same everywhere too, and clients that hold unlike numbers.

    tests/fl_sim/test_averaging.py computes the mean of such clients by hand.
    """
    config = config_of("FedAvg", NOISE, **FEDERATION)
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update=UNEQUAL)})
    local = recorded(config, tmp_path / "local")
    assert {"models/f@r000.safetensors", "models/f@r001.safetensors", "models/f@r002.safetensors"} < local.keys()

    # Ray in a process of its own: it leaves sockets and files open, which would be this test's warnings.
    asked = {"strategy": {"name": "FedAvg"}, "defence": NOISE, "federation": {**FEDERATION, "engine": "ray"}}
    asked["dataset"] = UNEQUAL
    done = programs.run("-c", ON_RAY, json.dumps(asked), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "ray") == local

    deployed = tmp_path / "deployed"
    run_config = {f"federation.{key}": value for key, value in FEDERATION.items()}
    run_config |= {f"defence.{key}": value for key, value in NOISE.items()}
    run_config |= {f"dataset.{key}": value for key, value in UNEQUAL.items()}
    run_config |= {"strategy.name": "FedAvg", "output": str(deployed), "federation_id": "f"}
    finished = flwr_run(flower_home, run_config)
    assert "Test accuracy after round 2" in finished.stdout + finished.stderr, finished.stdout + finished.stderr
    assert digests(deployed) == local
