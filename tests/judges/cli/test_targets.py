from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from attacks.contracts import Inversion
from fl_sim.records import TrainedModel, load_record
from fl_sim.specs import BRAINLEAKS_NEURONS
from judges.cli.targets import grid_png
from judges.cli.tasks import read_target
from judges.plans.model_inversion import with_brainleaks_neurons
from tests.judges.cli.conftest import Call

TINY = ("digits", "--set", "dataset.size=8", "--set", "model.hidden=24", "--set", "training.epochs=2")


@pytest.fixture
def call(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, spikeleak: Call) -> Call:
    """Return a function that runs the command `spikeleak` and returns its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKELEAK_DATA", raising=False)
    return spikeleak


@pytest.mark.parametrize(("model", "inversion"), [("spiking_mlp", "brainleaks_v2"), ("mlp", "mi_face")])
def test_a_model_is_trained_and_inverted(call: Call, tmp_path: Path, model: str, inversion: str) -> None:
    code, out, err = call("train", *TINY, "--set", f"model={model}", "--set", "model.timesteps=4", "--out", "t.safe")
    assert (code, err) == (0, f"{model} on digits ...\n")
    trained = load_record(TrainedModel, tmp_path / "t.safe")
    assert f"{100 * trained.test_accuracy:.2f} %" in out
    assert trained.model.architecture == model
    assert trained.model.init == "torch"
    assert call("train", *TINY, "--set", f"model={model}", "--set", "model.timesteps=4", "--out", "t.safe")[1] == out

    settings = ("--set", "attack.iterations=3", "--set", "seed=2")
    code, out, err = call("invert", "t.safe", *settings)
    assert (code, err) == (0, f"{inversion} on {model} ...\n")
    folder = tmp_path / f"t-{inversion}"
    found = load_record(Inversion, folder / "inversion.safetensors")
    assert (found.attack, found.seed, found.settings["iterations"]) == (inversion, 2, 3)
    assert found.classes.tolist() == list(range(10))
    lines = out.splitlines()[1:11]
    for line, confidence in zip(lines, found.confidence.tolist(), strict=True):
        assert f"{confidence:.4f}" in line
    assert (folder / "inversion.png").read_bytes() == grid_png(found.inputs)


def test_a_model_goes_where_runs_go_and_each_has_its_file(call: Call, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        assert call("train", *TINY, "--set", "model=mlp", "--set", f"seed={seed}")[0] == 0
    files = sorted((tmp_path / "runs" / "targets").iterdir())
    assert len(files) == 2
    assert all(path.name.startswith("digits-mlp-") for path in files)
    assert call("invert", str(files[0]), "--set", "attack=mi_face", "--out", "here")[0] == 0
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["inversion.png", "inversion.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digitss"], ["dataset.name: 'digitss' is not known.", "Did you mean 'digits'?"]),
        (["digits", "--set", "model=mlpp"], ["model.name: 'mlpp' is not known.", "Did you mean 'mlp'?"]),
        (["digits", "--set", "model.hiden=3"], ["model.hiden: unknown key.", "Did you mean 'hidden'?"]),
        (["digits", "--set", "training.preset=mnist"], ["preset 'mnist' is not known; use own, mnist_ann"]),
        (["digits", "--set", "training.epochs=0"], ["training.epochs: input should be greater than or equal to 1"]),
        (["digits", "--set", "training=mnist_snn"], ["the authors' constants are training.preset"]),
        (["digits", "--set", "dataset.split=test"], ["dataset.split: no target depends on it."]),
        (["digits", "--set", "seeed=3"], ["seeed: unknown key. Did you mean 'seed'?"]),
    ],
)
def test_a_wrong_setting_of_a_training_is_refused(call: Call, arguments: list[str], said: list[str]) -> None:
    code, out, err = call("train", *arguments)
    assert (code, out) == (2, "")
    assert all(part in err for part in said), err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "attack=brainleaks_v3"], 2, "attack.name: 'brainleaks_v3' is not known. Did you mean"),
        (["--set", "attack=mi_face,brainleaks_v1"], 2, "attack.name: input should be a valid string"),
        (["--set", "model.hiden=3"], 2, "model.hiden: unknown key. Did you mean 'hidden'?"),
        (["--set", "input.depth=3"], 2, "input.depth: unknown key."),
        (["--set", "training.epochs=3"], 2, "training: unknown key."),
        (["--set", "dataset.split=test"], 2, "dataset.split: no target depends on it."),
        (["--import", "no_such_module"], 2, "--import no_such_module: cannot be imported"),
        ([], 3, "found no such file"),
    ],
)
def test_a_wrong_inversion_is_refused(call: Call, arguments: list[str], code: int, said: str) -> None:
    found, out, err = call("invert", "nowhere.safetensors", *arguments)
    assert (found, out) == (code, "")
    assert said in err


def test_a_setting_that_the_attack_has_not_and_a_model_it_is_not_for_are_refused(call: Call) -> None:
    assert call("train", *TINY, "--set", "model=mlp", "--out", "t.safetensors")[0] == 0
    code, _, err = call("invert", "t.safetensors", "--set", "attack.iterashons=3")
    assert (code, "Did you mean 'iterations'?" in err) == (2, True)
    code, _, err = call("invert", "t.safetensors", "--set", "attack=brainleaks_v1")
    assert (code, "it inverts spiking models" in err) == (2, True)


def test_a_target_is_that_of_brainleaks_unless_told() -> None:
    task = read_target("mnist", [])
    assert (task.model.name, task.training.preset, task.training.learning_rate) == ("spiking_mlp", "mnist_snn", 5e-5)
    assert read_target("mnist", ["model=mlp"]).training.preset == "mnist_ann"
    assert read_target("digits", []).training.preset == "own"
    assert read_target("att_faces_8_9", []).training == read_target("att_faces", []).training
    assert read_target("att_faces_8_9", ["model=mlp"]).training.preset == "att_faces_ann"
    assert read_target("digits", ["training.preset=mnist_snn", "training.epochs=3"]).training.epochs == 3
    neurons = with_brainleaks_neurons(read_target("mnist", ["model.slope=25.0"]).model)
    for name, value in BRAINLEAKS_NEURONS.model_dump().items():
        assert getattr(neurons, name) == (25.0 if name == "slope" else value)
    assert (neurons.init, neurons.hidden) == ("torch", 3000)


def test_the_grid_shows_each_reconstruction_from_black_to_white() -> None:
    spikes = torch.zeros(4, 6, 1, 8, 8)
    spikes[:2, 0, 0, 0, 0] = 1.0
    spikes[0, 5, 0, 7, 7] = 1.0
    sheet = Image.open(io.BytesIO(grid_png(spikes)))
    side = 8 * 14
    assert sheet.size == (5 * (side + 4) - 4, 2 * (side + 4) - 4)
    white, black = (255, 255, 255), (0, 0, 0)
    assert [sheet.getpixel(place) for place in ((0, 0), (13, 13), (14, 14))] == [white, white, black]
    assert sheet.getpixel((side - 1, side + 4 + side - 1)) == white
    assert sheet.getpixel((0, side + 4)) == black
    assert Image.open(io.BytesIO(grid_png(torch.rand(40, 3, 16, 16)))).size[0] == 8 * (7 * 16 + 4) - 4
