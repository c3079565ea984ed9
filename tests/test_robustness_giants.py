"""Records and configs of some bytes that tell of a model of terabytes: refused at once, and nothing is allocated."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import tomli_w
import torch

import fl_sim.models
from attacks import ATTACKS, MODEL_INVERSIONS, build_attack, build_inversion
from fl_sim.captures import StoredUpdate
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import MODELS, ModelEntry, build_model
from fl_sim.records import (
    CapturedUpdate,
    InputSpec,
    ModelSpec,
    SpikingSpec,
    TrainedModel,
    load_record,
    save_record,
)
from fl_sim.training import capture_gradient
from judges import cli
from tests.judges.bench.test_gradient_inversion import run
from tests.test_robustness_bombs import MARKER, NO_STEP, harmless

REFUSED = (ConfigError.exit_code, DataError.exit_code)

SMALL = InputSpec(channels=1, height=16, width=16, classes=4)
FORGED: dict[str, Mapping[str, int]] = {
    "units that memory may hold": {"model.hidden": 10**6},
    "units of 1 PB": {"model.hidden": 10**12},
    "units that overflow": {"model.hidden": 10**19},
    "classes": {"model.input.classes": 10**9},
    "channels": {"model.input.channels": 10**9},
    "pixels": {"model.input.height": 10**5, "model.input.width": 10**5},
    "pixels that overflow": {"model.input.height": 10**10, "model.input.width": 10**10},
    "steps of a recording": {"model.input.timesteps": 10**9},
    "steps of a network": {"model.spiking.timesteps": 10**9},
    "examples": {"batch_size": 10**9, "num_examples": 10**9},
}
"""What a record is made to tell: {path in its JSON: number}."""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / MARKER


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command, which must end with one paragraph, and returns that."""

    def command(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err.splitlines()
        assert ended.value.code in REFUSED, told
        assert told[-1].startswith("spikeleak: "), told
        assert "Traceback" not in "".join(told)
        return told[-1]

    return command


def lies_about(architecture: str) -> list[str]:
    """Return the names of what a record of a model may tell wrongly: sizes that the model has."""
    unread = [] if "mlp" in architecture else ["model.hidden"]
    unread += [] if MODELS[architecture].spiking else ["model.spiking.timesteps"]
    return [case for case, told in FORGED.items() if not told.keys() & set(unread)]


def forge(record: Any, told: Mapping[str, int], path: Path) -> None:
    """Write a record that tells of other sizes than it has."""
    save_record(record, path)
    with safetensors.safe_open(path, framework="pt") as stream:
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - not a mapping
        plain = json.loads(stream.metadata()["spikeleak"])
    for place, number in told.items():
        *tables, key = place.split(".")
        table = plain
        for name in tables:
            table = table[name]
        assert key in table
        table[key] = number
    safetensors.torch.save_file(tensors, path, {"spikeleak": json.dumps(plain)})


def small_model(architecture: str) -> tuple[ModelSpec, dict[str, torch.Tensor]]:
    spiking = SpikingSpec(timesteps=2) if MODELS[architecture].spiking else None
    spec = ModelSpec(architecture, SMALL, spiking=spiking, hidden=8)
    return spec, {name: tensor.detach() for name, tensor in build_model(spec, seed=0).named_parameters()}


@pytest.mark.parametrize(("architecture", "case"), [(name, case) for name in MODELS.own for case in lies_about(name)])
def test_an_update_that_tells_of_a_giant_model_is_not_attacked(
    architecture: str, case: str, tmp_path: Path, marker: Path
) -> None:
    spec, parameters = small_model(architecture)
    capture = capture_gradient(spec, parameters, torch.rand(1, *SMALL.frame), torch.tensor([1]))
    path = tmp_path / "capture.safetensors"
    forge(capture, FORGED[case], path)
    for name in ATTACKS.own:
        with harmless(marker), pytest.raises((DataError, ConfigError)):
            build_attack(name, {}).reconstruct([load_record(CapturedUpdate, path)], seed=0)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        (name, case)
        for name, entry in MODEL_INVERSIONS.own.items()
        for case in lies_about("spiking_mlp" if entry.spiking else "mlp")
        if case != "examples"  # of which a model tells none
    ],
)
def test_a_model_that_tells_of_a_giant_one_is_not_inverted(
    name: str, case: str, tmp_path: Path, marker: Path, refused: Any
) -> None:
    spec, parameters = small_model("spiking_mlp" if MODEL_INVERSIONS[name].spiking else "mlp")
    path = tmp_path / "model.safetensors"
    forge(TrainedModel(spec, parameters, 0.5, 1, 0), FORGED[case], path)
    with harmless(marker), pytest.raises((DataError, ConfigError)):
        build_inversion(name, {}).invert(load_record(TrainedModel, path), [0], seed=0)
    with harmless(marker):
        assert "expected" in refused("invert", path, "--set", f"attack={name}")


def test_a_capture_of_a_giant_model_in_a_run_is_not_attacked(tmp_path: Path, marker: Path, refused: Any) -> None:
    run(tmp_path / "run", NO_STEP)
    (path,) = tmp_path.glob("run/captures/*/r*.safetensors")
    forge(load_record(StoredUpdate, path), FORGED["classes"], path)
    with harmless(marker):
        refused("attack", tmp_path / "run", "--set", "attack=dlg")


class ReadsItsValues(torch.nn.Module):
    """A plugin's model that cannot be built without values."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.head = torch.nn.Linear(spec.hidden, spec.input.classes)
        self.scale = float(self.head.weight.detach().sum())


def test_a_model_that_needs_its_values_to_be_built_is_held_to_a_bound(
    marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "reader", ModelEntry(ReadsItsValues, spiking=False, summary="reads what it drew"))
    assert isinstance(build_model(ModelSpec("reader", SMALL, hidden=8), parameters={}), ReadsItsValues)
    with harmless(marker), pytest.raises(ConfigError, match=r"at most 16,777,216.*1,000,000,000 hidden units"):
        build_model(ModelSpec("reader", SMALL, hidden=10**9))


def test_a_model_larger_than_the_memory_is_not_built(marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, parameters = small_model("mlp")
    needed = 4 * sum(tensor.numel() for tensor in parameters.values())
    monkeypatch.setattr(fl_sim.models, "_memory", lambda: needed)
    build_model(spec)
    monkeypatch.setattr(fl_sim.models, "_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match=rf"found one with {needed:,} bytes"):
        build_model(spec)


def test_a_config_of_a_giant_model_is_refused(tmp_path: Path, marker: Path, refused: Any) -> None:
    path = tmp_path / "giant.toml"
    path.write_text(tomli_w.dumps({**NO_STEP, "model": {"name": "mlp", "hidden": 10**12}}))
    with harmless(marker):
        assert "the memory of this machine" in refused("run", path, "--out", tmp_path / "run")


def test_parameters_have_to_be_those_of_the_model_and_nothing_is_drawn_to_see_it() -> None:
    spec, parameters = small_model("mlp")
    fl_sim.models._shapes.cache_clear()
    torch.manual_seed(3)
    build_model(spec, parameters=parameters)
    drawn = torch.get_rng_state()
    torch.manual_seed(3)
    build_model(spec, parameters=parameters)
    assert torch.get_rng_state().equal(drawn)
    assert fl_sim.models._shapes.cache_info().misses == 1
    lost = {name: tensor for name, tensor in parameters.items() if not name.endswith("bias")}
    with pytest.raises(DataError, match=r"bias of shape \(\d+,\); found none"):
        build_model(spec, parameters=lost)
