"""Weights of somebody else, inverted by the command."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from attacks.contracts import Inversion
from fl_sim.models import MODELS, build_model
from fl_sim.records import InputSpec, ModelSpec, load_record
from tests.judges.cli.conftest import Call

MODEL = ("--set", "model=mlp", "--set", "model.hidden=6")
DATA = ("--set", "dataset=digits", "--set", "dataset.size=8")
SIZES = [f"--set=input.{name}" for name in ("channels=1", "height=8", "width=8", "classes=10")]
SHORT = ("--set", "attack.iterations=2")
NET = """
from torch import nn
from fl_sim.models import MODELS, ModelEntry

MODELS["checkpoint_net"] = ModelEntry(lambda spec: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), False, "mine")
"""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file as Flower's quickstart leaves it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "final_model.pt"
    torch.save(build_model(ModelSpec("mlp", InputSpec(1, 8, 8, 10), hidden=6), seed=1).state_dict(), path)
    return path


def test_a_state_dict_is_inverted_once_its_model_is_named(spikeleak: Call, weights: Path) -> None:
    code, out, err = spikeleak("invert", "final_model.pt", *MODEL, *DATA, *SHORT)
    assert (code, err) == (0, "mi_face on mlp ...\n")
    accuracy = out.splitlines()[0]
    assert accuracy.startswith("test accuracy on digits: ")
    assert 0.0 <= float(accuracy.split()[-2]) <= 100.0
    found = load_record(Inversion, weights.parent / "final_model-mi_face" / "inversion.safetensors")
    assert found.inputs.shape == (10, 1, 8, 8)

    state = {f"module.{name}": tensor for name, tensor in torch.load(weights, weights_only=True).items()}
    safetensors.torch.save_file(state, weights.parent / "wrapped.safetensors")
    code, out, _ = spikeleak("invert", "wrapped.safetensors", *MODEL, *SIZES, *SHORT)
    assert code == 0
    assert out.splitlines()[:2] == [
        "prefix of all names, taken off: module.",
        "test accuracy: not known (no data set was named)",
    ]
    _, out, _ = spikeleak("invert", "final_model.pt", *MODEL, "--set", "dataset=digits", *SIZES, *SHORT, "--out", "x")
    assert out.startswith("test accuracy: not known (the inputs of digits are of another size)")
    same = load_record(Inversion, weights.parent / "wrapped-mi_face" / "inversion.safetensors")
    assert same.inputs.equal(found.inputs)


def test_a_model_of_ones_own_is_imported(spikeleak: Call, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights.parent / "checkpoint_module.py").write_text(NET)
    torch.save({"1.weight": torch.ones(10, 64), "1.bias": torch.zeros(10)}, weights)
    named = ("--import", "checkpoint_module", "--set", "model=checkpoint_net")
    try:
        code, out, _ = spikeleak("invert", "final_model.pt", *named, *DATA, *SHORT, "--set", "input.low=-1.0")
    finally:
        MODELS.pop("checkpoint_net", None)
    assert code == 0
    assert "test accuracy on digits: 10.00 %" in out  # all logits are equal, and a tenth of the digits are of class 0


def test_without_the_data_the_table_says_what_its_inputs_look_like(
    spikeleak: Call, weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    torch.save(build_model(ModelSpec("mlp", InputSpec(1, 28, 28, 10), hidden=6)).state_dict(), weights)
    code, out, _ = spikeleak("invert", "final_model.pt", *MODEL, "--set", "dataset=mnist", *SHORT)
    assert code == 0
    assert out.startswith("test accuracy: not known (The data set 'mnist' was not found")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, ["'head.bias' (10,)", "--set model=mlp --set model.hidden=50 --set dataset=digits", "--import MODULE"]),
        (DATA, 2, ["does not say of which model"]),
        (MODEL, 2, ["does not say of which model"]),
        ((*MODEL, *SIZES[:2]), 2, ["input.width: expected a number, found none"]),
        ((*MODEL, "--set", "dataset=digits"), 3, ["'body.0.1.weight' of shape (6, 784); found (6, 64)"]),
        (("--set", "model=mlpp", *DATA), 2, ["model.name: 'mlpp' is not known.", "Did you mean 'mlp'?"]),
        ((*MODEL, "--set", "dataset=digitss"), 2, ["dataset.name: 'digitss' is not known."]),
    ],
)
def test_what_is_missing_is_said_in_a_paragraph(
    spikeleak: Call, weights: Path, arguments: tuple[str, ...], code: int, said: list[str]
) -> None:
    found, out, err = spikeleak("invert", "final_model.pt", *arguments)
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert all(part in err for part in said), err


def test_a_model_of_ours_says_itself_what_it_is(spikeleak: Call, weights: Path, cache: Path) -> None:
    small = ("--set", "dataset.size=8", "--set", "training.epochs=1")
    assert spikeleak("train", "digits", *MODEL, *small, "--out", "t.safetensors")[0] == 0
    code, _, err = spikeleak("invert", "t.safetensors", *MODEL, *DATA)
    assert (code, "says itself which model and input it is of" in err) == (2, True)
